"""Measure the cost of migqual against the bare tools in the same run: `migqual bench ...`."""
