"""Frozen data and pure rules. Imports nothing of migqual but `errors`."""
