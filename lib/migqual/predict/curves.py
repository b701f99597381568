"""Pure: how much unique memory a guest dirties in a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

# MiB of unique memory dirtied in so many s
DirtyCurve = Callable[[float], float]


@dataclass(frozen=True)
class Dirtying:
    """What a guest does to its memory.

    curve            unique MiB in a time
    working_set_mib  what can be dirtied at all
    scattered        at random places of the set: some of what is dirtied was so already
    """

    curve: DirtyCurve
    working_set_mib: float = math.inf
    scattered: bool = False

    def added(self, waiting_mib: float, seconds: float) -> float:
        """MiB that wait to be sent when `waiting_mib` did, and `seconds` have been dirtied since;
        never more than the set, unless more was waiting. A load in order goes where it was longest
        ago: to pages that were sent already, as long as there are such."""
        of_mib = self.working_set_mib
        new = min(self.curve(seconds), of_mib)
        if self.scattered and of_mib > 0.0:
            new *= max(0.0, 1.0 - waiting_mib / of_mib)
        return max(waiting_mib, min(waiting_mib + new, of_mib))

    def slowed(self, share: float) -> "Dirtying":
        """With `share` (0 to 1) of its CPU taken away, as auto-converge does: what it did in a time
        it now does in a longer one. Below 0 it is faster."""
        curve = self.curve
        return replace(self, curve=lambda seconds: curve(seconds * (1.0 - share)))


def saturating(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """A load that writes to random places of a working set: W * (1 - exp(-d*t/W))."""
    if working_set_mib <= 0 or rate_mib_s <= 0:
        return lambda _seconds: 0.0
    return lambda seconds: working_set_mib * -math.expm1(-rate_mib_s * seconds / working_set_mib)


def cyclic(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """A load that writes to its working set in order, round and round: each page once a lap."""
    return lambda seconds: min(rate_mib_s * seconds, working_set_mib)


def measured(points: dict[float, float]) -> DirtyCurve:
    """A curve through windows (s) and what was dirtied in each (MiB), straight between them.

    Before the first it comes from nothing; after the last it goes on as it last grew: what was not
    measured is not taken for saturated. Raises `ValueError` without a point, or for one that is not
    positive.
    """
    if not points or min(points) <= 0:
        raise ValueError(f"windows of a dirty curve: {sorted(points)}")
    known = [(0.0, 0.0), *sorted(points.items())]

    def curve(seconds: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(known):
            if seconds <= t1:
                return v0 + (v1 - v0) * (seconds - t0) / (t1 - t0)
        (t0, v0), (t1, v1) = known[-2:]
        return v1 + max(0.0, v1 - v0) / (t1 - t0) * (seconds - t1)

    return curve
