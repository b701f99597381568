"""Probe hosts for facts about guests and disk images. A missing fact contains the reason."""
