"""Run a planned migration: start, sample and abort the migration job."""
