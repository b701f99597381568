"""Probe hosts: the resources of a probe, disk images, and facts. A missing fact has a reason."""
