"""Measure the cost of migqual in comparison with the plain tools: `migqual bench`."""
