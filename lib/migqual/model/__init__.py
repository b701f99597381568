"""Define plans, guests, outcomes, records and verdicts as frozen data with pure functions."""
