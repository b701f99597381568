"""Pure: how often the gap meter probes a guest, and how far a migration is from its switch-over.

A probe every 2 ms costs an emulated guest and its network two thirds of a core. So the meter probes
finely only where an interruption is due, and a gap is told with the resolution that it was seen at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from migqual.model.outcome import JobSample
from migqual.model.plan import Plan

NS_PER_MS = 1_000_000
# Seconds from the rest of the memory being sent to the switch-over. Two limits, so that a migration
# between them does not go to and fro.
FAR_S = 2.0
NEAR_S = 1.0


class Pace(Enum):
    """Intervals between two probes and between two questions over the TCP session, in ms."""

    REST = (200, 1000)
    STEADY = (20, 100)
    FINE = (2, 20)

    @property
    def interval_ns(self) -> int:
        """Between two probes."""
        return self.value[0] * NS_PER_MS

    @property
    def order(self) -> str:
        """The line that sets this pace in a running `migqual-payload watch`."""
        probes_ms, session_ms = self.value
        return f"pace {probes_ms * 1000} {session_ms}"


@dataclass(frozen=True)
class PaceChange:
    """From `at_ns` on, by the client's clock, probes are due every `interval_ns`."""

    at_ns: int
    interval_ns: int


def find_interval_ns(changes: Sequence[PaceChange], from_ns: int, to_ns: int) -> int:
    """The longest interval in force between two times; the fine one where no change is known."""
    longest = 0
    for position, change in enumerate(changes):
        ended = changes[position + 1].at_ns if position + 1 < len(changes) else to_ns + 1
        if change.at_ns <= to_ns and ended > from_ns:
            longest = max(longest, change.interval_ns)
    return longest or Pace.FINE.interval_ns


def choose_pace(plan: Plan, sample: JobSample, current: Pace) -> Pace:
    """The pace for a migration of which `sample` is the latest news.

    A plan that stops the guest or goes over to post-copy by itself is probed finely throughout:
    the interruption may come at any time. Everything else is due when the memory that is left has
    been sent (virDomainGetJobStats: memory_remaining, memory_bps); before the first byte of memory
    the destination's QEMU starts, or disks are copied, and the guest runs undisturbed.
    """
    if plan.timeout is not None or plan.postcopy:
        return Pace.FINE
    sent, remaining, speed = (
        int(sample.stats.get(f"memory_{name}") or 0) for name in ("processed", "remaining", "bps")
    )
    if not sent:
        return Pace.STEADY
    if not speed:
        return Pace.FINE
    seconds_left = remaining / speed
    if seconds_left > FAR_S:
        return Pace.STEADY
    return Pace.FINE if seconds_left < NEAR_S else current
