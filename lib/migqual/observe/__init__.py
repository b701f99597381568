"""Observers around every migration: job, gaps, integrity, split brain and leftovers."""
