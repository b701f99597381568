"""Pure: how auto-converge slows a guest down, step by step.

QEMU reckons at looks at the dirty log that are more than a second apart
(`migration_trigger_throttle` in migration/ram.c): where more was dirtied since than half of what
was sent, twice, it takes the next step. So the guest dirties at full speed first, and a throttle of
90 % is minutes away where a pass over memory takes long. QEMU 9.2 and later look every few seconds
as well, and may be there sooner.
"""

from collections.abc import Iterable

STEPS_PERCENT = (20, 30, 40, 50, 60, 70, 80, 90, 99)  # cpu-throttle-initial, -increment, the most
_PERIOD_S = 1.0
_TRIGGER = 0.5  # throttle-trigger-threshold
_TIMES = 2


class Throttle:
    """What is taken of the guest's CPU in one migration: nothing at first."""

    def __init__(self, steps_percent: Iterable[int] = STEPS_PERCENT) -> None:
        self.percent = 0
        self._steps = iter(steps_percent)
        self._high = 0
        self._dirtied_mib = self._sent_mib = self._at_s = 0.0

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.percent / 100

    def looked(self, dirtied_mib: float, sent_mib: float, at_s: float) -> None:
        """A look at the log: dirtied since the last one; sent, and s, since the first byte."""
        self._dirtied_mib += dirtied_mib
        if at_s - self._at_s <= _PERIOD_S:
            return
        if self._dirtied_mib > _TRIGGER * (sent_mib - self._sent_mib):
            self._high += 1
        if self._high >= _TIMES:
            self._high, self.percent = 0, next(self._steps, self.percent)
        self._dirtied_mib, self._sent_mib, self._at_s = 0.0, sent_mib, at_s
