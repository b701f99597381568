"""Build and remove a lab, a set of libvirt/QEMU hosts in containers on the controller.

The controller is the machine that runs migqual. The packages outside `migqual.lab` know the hosts
of a lab only from the inventory file of the lab.
"""
