"""Simulate how auto-converge throttles a guest step by step (pure).

QEMU checks the dirtying at syncs of the dirty log more than a second apart
(`migration_trigger_throttle` in migration/ram.c). Each check compares the dirtied memory with
the sent memory since the last check. When more than half as much was dirtied for the second
time, QEMU takes the next step. So the guest dirties at full speed first. A throttle of 90 %
comes only after minutes where a pass over the memory takes long. QEMU 9.2 and later also sync
every few seconds, and may reach the step sooner.
"""

from collections.abc import Iterable

STEPS_PERCENT = (20, 30, 40, 50, 60, 70, 80, 90, 99)  # cpu-throttle-initial, -increment, the most
_MIN_PERIOD_S = 1.0
_TRIGGER_SHARE = 0.5  # throttle-trigger-threshold
_TRIGGER_COUNT = 2


class Throttle:
    """The share of the guest's CPU taken away during a migration; 0 at the start."""

    def __init__(self, steps_percent: Iterable[int] = STEPS_PERCENT) -> None:
        self.percent = 0
        self._steps = iter(steps_percent)
        self._high_rate_count = 0
        self._dirtied_mib = self._sent_mib = self._last_sync_s = 0.0

    @property
    def cpu_share(self) -> float:
        """Return the share of the CPU taken away, 0 to 1."""
        return self.percent / 100

    def record_dirty_sync(self, dirtied_mib: float, sent_mib: float, elapsed_s: float) -> None:
        """Record a sync of the dirty log.

        Args:
            dirtied_mib: Memory dirtied since the last sync, in MiB.
            sent_mib: Memory sent since the first byte, in MiB.
            elapsed_s: Time since the first byte, in s.
        """
        self._dirtied_mib += dirtied_mib
        if elapsed_s - self._last_sync_s <= _MIN_PERIOD_S:
            return
        if self._dirtied_mib > _TRIGGER_SHARE * (sent_mib - self._sent_mib):
            self._high_rate_count += 1
        if self._high_rate_count >= _TRIGGER_COUNT:
            self._high_rate_count, self.percent = 0, next(self._steps, self.percent)
        self._dirtied_mib, self._sent_mib, self._last_sync_s = 0.0, sent_mib, elapsed_s
