"""Build and remove a lab: libvirt/QEMU hosts in containers on the machine that runs migqual.

The packages outside `migqual.lab` read only the inventory file of a lab.
"""
