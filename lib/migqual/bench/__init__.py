"""Measure how much time and CPU migqual costs in comparison with virsh, for `migqual bench`."""
