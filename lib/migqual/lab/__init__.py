"""The embedded lab: real libvirt/QEMU hosts on one machine. Its only product is an inventory."""
