"""The only code that touches libvirt and SSH."""
