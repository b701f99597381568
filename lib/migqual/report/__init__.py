"""Verdicts, HTML report and charts from records. The package reads record files only."""
