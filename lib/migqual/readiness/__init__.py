"""Check before a run whether the hosts of an inventory are ready (`migqual inventory check`)."""
