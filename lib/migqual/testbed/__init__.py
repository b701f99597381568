"""The testbed: connected hosts, guests, and migrations watched by every observer."""
