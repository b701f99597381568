"""Wait with a deadline; nested waits share the same deadline.

No other module of migqual waits by time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from migqual.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A point in time as the limit for an event.

    Pass the same `Deadline` through nested waits. Each wait gets the remaining time.

    Attributes:
        seconds: The time limit, counted from `started_at`.
        started_at: The start on the monotonic clock, in seconds.
    """

    seconds: float
    started_at: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self.started_at + self.seconds - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Return whether no time is left."""
        return self.seconds_left <= 0.0

    def pause(self, seconds: float) -> None:
        """Wait for `seconds`, but not longer than the time left."""
        time.sleep(min(seconds, self.seconds_left))

    def wait_for(
        self, condition: str, probe: Callable[[], T | None], *, interval_s: float = 0.02
    ) -> T:
        """Call `probe` again and again until the result is true.

        Args:
            condition: The awaited condition; a noun phrase for the error message.
            probe: Called at least once, also when no time is left.
            interval_s: The pause between two calls, in seconds.

        Returns:
            The first true result of `probe`.

        Raises:
            TimedOut: The time is over. The message names `condition`.
        """
        while True:
            if result := probe():
                return result
            if self.is_over:
                raise TimedOut(f"timeout after {self.seconds:g} s: waited for {condition}")
            self.pause(interval_s)
