"""Run a plan, follow its job, abort it."""
