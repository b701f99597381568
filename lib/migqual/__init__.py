"""Live-migration validation and qualification for libvirt/QEMU hosts."""

__version__ = "0.1.0"
