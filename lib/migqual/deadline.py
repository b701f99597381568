"""Wait until a condition is true or a deadline has passed.

Only this module calls `time.sleep`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from migqual.errors import TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A point in time at which a wait gives up.

    Pass the same `Deadline` to several waits to limit the total time of the waits.

    Attributes:
        seconds: The time limit in seconds, counted from `started_at`.
        started_at: The start on the monotonic clock, in seconds.
    """

    seconds: float
    started_at: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """Return the time until the deadline in seconds, never negative."""
        return max(0.0, self.started_at + self.seconds - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self.seconds_left <= 0.0

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, at most until the deadline."""
        time.sleep(min(seconds, self.seconds_left))

    def wait_for(
        self, condition: str, probe: Callable[[], T | None], *, interval_s: float = 0.02
    ) -> T:
        """Call `probe` repeatedly until `probe` returns a true value.

        Args:
            condition: The awaited condition, as a noun phrase for the error message.
            probe: The function that checks the condition. The method calls the function at least
                once, even if the deadline has passed.
            interval_s: The pause between two calls, in seconds.

        Returns:
            The first true result of `probe`.

        Raises:
            TimedOut: The deadline has passed. The message names `condition`.
        """
        while True:
            if result := probe():
                return result
            if self.is_over:
                raise TimedOut(f"timeout after {self.seconds:g} s: waited for {condition}")
            self.pause(interval_s)
