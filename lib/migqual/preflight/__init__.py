"""Check both hosts and the guest before a migration.

Probes collect facts, such as the CPU model of a host. Checks evaluate the facts and report
findings. A finding has the severity `ok`, `warning`, `refused` or `unknown`.
`run.run_preflight_checks` runs all checks. `run.raise_if_refused` raises an error if the severity
of a finding is `refused`.
"""
