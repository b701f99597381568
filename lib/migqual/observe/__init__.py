"""Observe each migration, and find gaps in replies, damaged data, split brain and leftovers."""
