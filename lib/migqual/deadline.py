"""The only clock that waits. Nested waits share one budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from migqual.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A point in time by which something must have happened.

    Pass one `Deadline` through nested waits; each takes what is left of it.
    """

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.started + self.seconds - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left <= 0.0

    def pause(self, seconds: float) -> None:
        """Wait `seconds`, or what is left."""
        time.sleep(min(seconds, self.left))

    def wait_for(self, what: str, probe: Callable[[], T | None], *, interval: float = 0.02) -> T:
        """Call `probe` every `interval` seconds until it returns something true.

        Raises `TimedOut` naming `what` when the time is over. The probe is called at least once.
        """
        while True:
            if result := probe():
                return result
            if self.passed:
                raise TimedOut(f"{what}: not within {self.seconds:g} s")
            self.pause(interval)
