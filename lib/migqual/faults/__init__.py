"""Inject faults into hosts: cut links, kill or freeze QEMU, kill libvirt's daemon.

Each fault is a context manager. The journal names the fault before the fault begins, and the end
of the block undoes the fault.
"""
