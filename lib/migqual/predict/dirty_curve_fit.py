"""Fit a dirty curve to measured windows, and extend the curve below the shortest window (pure).

Some stacks measure only whole seconds, so the dirtying within the first second is unknown. The
best-fitting load, sequential or random over a working set, gives the shape of the curve before
the first window.
"""

from collections.abc import Callable

from migqual.predict.dirty_curve import (
    DirtyCurve,
    DirtyModel,
    build_cyclic_curve,
    build_saturating_curve,
    interpolate_curve,
)

_GRID_STEPS = 60
_SLOWEST_RATE_SHARE = 0.7  # of the fastest that was seen: short windows scatter


def fit_dirty_model(points: dict[float, float]) -> DirtyModel:
    """Fit a dirty model to measured windows.

    Several loads may fit equally well. Then the function takes the larger working set and the
    faster rate: an unmeasured load is not assumed to be harmless.

    Args:
        points: Dirtied memory of each window in MiB, by window length in s.

    Returns:
        A model with a curve through all points.

    Raises:
        ValueError: `points` is empty, or a window is not positive.
    """
    interpolate_curve(points)  # for its check
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
    """List curve shapes with working sets and rates to try.

    The working sets grow from the largest measured amount to far more.
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
