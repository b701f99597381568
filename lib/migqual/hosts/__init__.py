"""The only package of migqual with libvirt calls and SSH connections."""
