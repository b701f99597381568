"""Probes on hosts: the context of a probe, disk images, and facts with a reason if missing."""
