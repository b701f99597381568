"""Model how much memory a guest dirties in a given time. No side effects.

The memory is unique: a page that the guest writes twice counts once. A dirty curve is a function
from the time in s to the unique memory in MiB.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from migqual.model.guest_spec import WritePattern

DirtyCurve = Callable[[float], float]
_GRID_STEPS = 60
_SLOWEST_RATE_SHARE = 0.7  # of the highest measured rate: the rates of short windows vary
HOT_SHARE = 0.1  # of the working set; nine of ten writes go to this part
_COLD_WRITE_SHARE = 26 / 256  # of the writes; they go to any page, also in the hot part


@dataclass(frozen=True)
class DirtyModel:
    """A model of a guest's writes to memory.

    Attributes:
        curve: Function from a time in s to the MiB of unique memory dirtied in this time.
        working_set_mib: Largest amount of memory that the guest can dirty, in MiB.
        is_random: Whether the guest writes to random pages of the working set. Then some writes
            go to pages that are already dirty.
    """

    curve: DirtyCurve
    working_set_mib: float = math.inf
    is_random: bool = False

    def pending_after(self, pending_mib: float, seconds: float) -> float:
        """Return how many MiB QEMU must send after the guest has dirtied memory for some seconds.

        A sequential load first writes to pages that QEMU has already sent, so each write adds
        memory to send. A random load also writes to pages that QEMU must send anyway.

        The result is at most the working set. Only if `pending_mib` is larger than the working set,
        the function returns `pending_mib`.

        Args:
            pending_mib: Memory that QEMU must send before these writes, in MiB.
            seconds: Duration of the writes, in s.
        """
        working_set_mib = self.working_set_mib
        dirtied_mib = min(self.curve(seconds), working_set_mib)
        if self.is_random and working_set_mib > 0.0:
            dirtied_mib *= max(0.0, 1.0 - pending_mib / working_set_mib)
        return max(pending_mib, min(pending_mib + dirtied_mib, working_set_mib))

    def throttled(self, cpu_share: float) -> "DirtyModel":
        """Return the model of the same guest with less or more CPU time.

        With less CPU time, the guest dirties memory more slowly. Auto-converge has this effect.

        Args:
            cpu_share: Share of CPU time that the guest loses, at most 1. With 0.2, the guest is
                20 % slower. A negative share means more CPU time: with -0.2, the guest is 20 %
                faster.
        """
        curve = self.curve
        return replace(self, curve=lambda seconds: curve(seconds * (1.0 - cpu_share)))


def build_saturating_curve(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """Build the dirty curve (dirtied memory by time) of random writes to a working set.

    In t seconds, the guest dirties `W * (1 - exp(-d*t/W))` MiB of unique memory. W is the working
    set in MiB, and d is the write rate in MiB/s.
    """
    if working_set_mib <= 0 or rate_mib_s <= 0:
        return lambda _seconds: 0.0
    return lambda seconds: working_set_mib * -math.expm1(-rate_mib_s * seconds / working_set_mib)


def build_cyclic_curve(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """Build the dirty curve (dirtied memory by time) of repeated sequential writes.

    In t seconds, the guest dirties `d*t` MiB of unique memory, but never more than `W` MiB. W is
    the working set in MiB, and d is the write rate in MiB/s.
    """
    return lambda seconds: min(rate_mib_s * seconds, working_set_mib)


def interpolate_curve(points: dict[float, float]) -> DirtyCurve:
    """Build a dirty curve through measured points, with straight lines between the points.

    The curve begins with 0 MiB at 0 s. After the last point the curve continues with the last
    slope, because the guest may dirty further memory.

    Args:
        points: MiB of memory dirtied in each measured time window, by window length in s.

    Returns:
        The curve.

    Raises:
        ValueError: `points` is empty, or a window length is not positive.
    """
    if not points or min(points) <= 0:
        raise ValueError(
            f"cannot build a dirty curve from time windows with the lengths {sorted(points)} in s; "
            "measure at least one time window, and only time windows longer than 0 s"
        )
    anchor_points = [(0.0, 0.0), *sorted(points.items())]

    def interpolate(seconds: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(anchor_points):
            if seconds <= t1:
                return v0 + (v1 - v0) * (seconds - t0) / (t1 - t0)
        (t0, v0), (t1, v1) = anchor_points[-2:]
        return v1 + max(0.0, v1 - v0) / (t1 - t0) * (seconds - t1)

    return interpolate


def fit_dirty_model(points: dict[float, float]) -> DirtyModel:
    """Fit a dirty model to measured points.

    The function computes the dirty curve (dirtied memory by time) of many loads, and takes the load
    whose curve fits the points best. A load has a write order (sequential or random), a rate and a
    working set.

    If several loads fit equally well, the function takes the load with the largest working set. If
    the working sets are also equal, the function takes the load with the highest rate. This choice
    avoids a prediction that is too optimistic.

    The function then corrects the curve of this load, so that the curve goes through all points.
    Some hosts measure only windows of whole seconds, so their first point is at 1 s. Before the
    first point, only the load determines how the curve rises.

    Args:
        points: MiB of memory dirtied in each measured time window, by window length in s.

    Returns:
        A model with a curve through all points.

    Raises:
        ValueError: `points` is empty, or a window length is not positive.
    """
    interpolate_curve(points)  # raises ValueError if `points` cannot be used
    max_mib = max(points.values())
    if max_mib <= 0.0:
        return DirtyModel(lambda _seconds: 0.0, 0.0)
    build_curve, rate_mib_s, working_set_mib = min(
        _list_candidates(points),
        key=lambda candidate: (
            round(_calculate_misfit(candidate[0](candidate[1], candidate[2]), points), 2),
            -candidate[2],
            -candidate[1],
        ),
    )
    fitted_curve = build_curve(rate_mib_s, working_set_mib)
    correction = interpolate_curve(
        {seconds: mib / fitted_curve(seconds) for seconds, mib in points.items()}
    )
    shortest_s, longest_s = min(points), max(points)

    def apply_correction(seconds: float) -> float:
        return fitted_curve(seconds) * correction(min(max(seconds, shortest_s), longest_s))

    return DirtyModel(
        apply_correction,
        max(working_set_mib, max_mib),
        is_random=build_curve is build_saturating_curve,
    )


def _list_candidates(
    points: dict[float, float],
) -> list[tuple[Callable[[float, float], DirtyCurve], float, float]]:
    """List the loads whose dirty curves `fit_dirty_model` compares with the points.

    Each tuple describes one load: a function, the rate in MiB/s and the working set in MiB. The
    function builds the dirty curve from the rate and the working set.

    The smallest working set in the list is the largest amount of memory in `points`, because a
    guest cannot dirty more memory than its working set.
    """
    max_mib, max_rate_mib_s = (
        max(points.values()),
        max(mib / seconds for seconds, mib in points.items()),
    )
    working_sets_mib = [max_mib * 1.06**step for step in range(_GRID_STEPS)]
    rates_mib_s = [max_rate_mib_s * _SLOWEST_RATE_SHARE * 1.05**step for step in range(_GRID_STEPS)]
    return [
        (build_curve, rate_mib_s, working_set_mib)
        for build_curve in (build_cyclic_curve, build_saturating_curve)
        for working_set_mib in working_sets_mib
        for rate_mib_s in rates_mib_s
    ]


def _calculate_misfit(curve: DirtyCurve, points: dict[float, float]) -> float:
    return sum((curve(seconds) - mib) ** 2 / max(mib, 1.0) for seconds, mib in points.items())


def build_load_curve(
    pattern: WritePattern, rate_mib_s: float, working_set_mib: float
) -> DirtyCurve:
    """Build the dirty curve (dirtied memory by time) of a memory load with known writes.

    Args:
        pattern: Order of the writes.
        rate_mib_s: Rate of the writes in MiB/s.
        working_set_mib: Size of the written memory in MiB.

    Returns:
        Function from a time in s to the MiB of unique memory dirtied in this time.
    """
    if pattern is WritePattern.SEQUENTIAL:
        return build_cyclic_curve(rate_mib_s, working_set_mib)
    if pattern is WritePattern.RANDOM:
        return build_saturating_curve(rate_mib_s, working_set_mib)
    cold_rate_mib_s = rate_mib_s * _COLD_WRITE_SHARE * (1.0 - HOT_SHARE)
    hot_curve = build_saturating_curve(rate_mib_s - cold_rate_mib_s, working_set_mib * HOT_SHARE)
    cold_curve = build_saturating_curve(cold_rate_mib_s, working_set_mib * (1.0 - HOT_SHARE))
    return lambda seconds: hot_curve(seconds) + cold_curve(seconds)
