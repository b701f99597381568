"""Compute verdicts from the record files of runs, and render reports and charts.

The package reads no other input and connects to no host.
"""
