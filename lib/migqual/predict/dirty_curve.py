"""Model how much unique memory a guest dirties in a time (pure functions)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

# function from a time in s to the unique memory dirtied in the time, in MiB
DirtyCurve = Callable[[float], float]


@dataclass(frozen=True)
class DirtyModel:
    """A model of a guest's writes to memory.

    Attributes:
        curve: Unique MiB dirtied in a time in s.
        working_set_mib: Largest amount of memory the guest can dirty, in MiB.
        is_random: Whether the guest writes to random pages of the working set. Some of the
            pages are already dirty.
    """

    curve: DirtyCurve
    working_set_mib: float = math.inf
    is_random: bool = False

    def pending_after(self, pending_mib: float, seconds: float) -> float:
        """Return the MiB pending to be sent after more dirtying.

        The result never exceeds the working set, unless more memory was pending before. A
        sequential load writes to the pages with the oldest writes: as long as possible, to
        pages already sent.

        Args:
            pending_mib: Memory pending before, in MiB.
            seconds: Time of further dirtying.
        """
        working_set_mib = self.working_set_mib
        dirtied_mib = min(self.curve(seconds), working_set_mib)
        if self.is_random and working_set_mib > 0.0:
            dirtied_mib *= max(0.0, 1.0 - pending_mib / working_set_mib)
        return max(pending_mib, min(pending_mib + dirtied_mib, working_set_mib))

    def throttled(self, cpu_share: float) -> "DirtyModel":
        """Return a model with less CPU time for the guest, as with auto-converge.

        The guest needs a longer time for the same dirtying.

        Args:
            cpu_share: Share of the CPU taken away, 0 to 1. A negative share makes the guest
                faster.
        """
        curve = self.curve
        return replace(self, curve=lambda seconds: curve(seconds * (1.0 - cpu_share)))


def build_saturating_curve(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """Build the curve of random writes to a working set: W * (1 - exp(-d*t/W)).

    W is the working set in MiB, d the write rate in MiB/s, t the time in s.
    """
    if working_set_mib <= 0 or rate_mib_s <= 0:
        return lambda _seconds: 0.0
    return lambda seconds: working_set_mib * -math.expm1(-rate_mib_s * seconds / working_set_mib)


def build_cyclic_curve(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """Build the curve of repeated sequential writes to a working set.

    Each pass over the working set dirties each page once.
    """
    return lambda seconds: min(rate_mib_s * seconds, working_set_mib)


def interpolate_curve(points: dict[float, float]) -> DirtyCurve:
    """Build a curve through measured windows, with straight lines between the windows.

    Before the first window the curve starts at zero. After the last window the curve continues
    with the last slope: memory not measured is not assumed to be saturated.

    Args:
        points: Dirtied memory of each window in MiB, by window length in s.

    Returns:
        The curve.

    Raises:
        ValueError: `points` is empty, or a window is not positive.
    """
    if not points or min(points) <= 0:
        raise ValueError(f"a dirty curve needs windows longer than 0 s: {sorted(points)}")
    anchor_points = [(0.0, 0.0), *sorted(points.items())]

    def interpolate(seconds: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(anchor_points):
            if seconds <= t1:
                return v0 + (v1 - v0) * (seconds - t0) / (t1 - t0)
        (t0, v0), (t1, v1) = anchor_points[-2:]
        return v1 + max(0.0, v1 - v0) / (t1 - t0) * (seconds - t1)

    return interpolate
