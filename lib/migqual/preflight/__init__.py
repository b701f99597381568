"""Collect facts from both hosts, evaluate the facts and report findings before a migration.

`run.run_preflight_checks` runs the complete preflight. `run.raise_if_refused` raises an error
when a finding refuses the migration.
"""
