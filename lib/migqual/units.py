"""Units of memory and disk sizes, in bytes."""

MIB = 2**20
