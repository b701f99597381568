"""Connect to hosts with libvirt and SSH. No other package of migqual does so."""
