"""Run a migration with the settings of a plan, and sample or abort the migration job."""
