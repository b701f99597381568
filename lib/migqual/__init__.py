"""Test live migration between libvirt/QEMU hosts, and judge whether the hosts qualify."""

__version__ = "0.1.0"
