"""Load the inventory file: hosts, pairs, stores and networks."""
