"""Frozen data and pure rules. The package imports only `errors`, `paths` and `inventory`."""
