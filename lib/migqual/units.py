"""Define units for the sizes of memory and disks, in bytes."""

MIB = 2**20
