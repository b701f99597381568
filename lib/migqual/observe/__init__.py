"""Observe each migration: events, gaps, memory and disks of the guest, split brain, leftovers."""
