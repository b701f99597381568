"""Pure: a dirty curve through measured windows, its head filled in.

Where a stack measures whole seconds only, what happens within the first is not known. The load that
fits all windows best, in order or at random over a working set, says how the curve gets there.
"""

from collections.abc import Callable

from migqual.predict.curves import DirtyCurve, Dirtying, cyclic, measured, saturating

_STEPS = 60
_SLOWEST = 0.7  # of the fastest that was seen: short windows scatter


def fitted(points: dict[float, float]) -> Dirtying:
    """Through `points`: windows (s) and what was dirtied in each (MiB). Raises `ValueError` without
    a point, or for a window that is not positive.

    Loads that fit equally well are not told apart by the windows: the one with the larger set, and
    the faster one, is taken. What was not seen is not taken for harmless.
    """
    measured(points)  # for its check
    most = max(points.values())
    if most <= 0.0:
        return Dirtying(lambda _seconds: 0.0, 0.0)
    shape, rate, size = min(
        _candidates(points),
        key=lambda c: (round(_miss(c[0](c[1], c[2]), points), 2), -c[2], -c[1]),
    )
    load = shape(rate, size)
    amends = measured({seconds: mib / load(seconds) for seconds, mib in points.items()})
    first, last = min(points), max(points)

    def curve(seconds: float) -> float:
        return load(seconds) * amends(min(max(seconds, first), last))

    return Dirtying(curve, max(size, most), scattered=shape is saturating)


def _candidates(
    points: dict[float, float],
) -> list[tuple[Callable[[float, float], DirtyCurve], float, float]]:
    """Shapes with sets from what was seen to far more, each with the rates worth trying."""
    most, fastest = max(points.values()), max(mib / seconds for seconds, mib in points.items())
    sizes = [most * 1.06**step for step in range(_STEPS)]
    rates = [fastest * _SLOWEST * 1.05**step for step in range(_STEPS)]
    return [
        (shape, rate, size) for shape in (cyclic, saturating) for size in sizes for rate in rates
    ]


def _miss(curve: DirtyCurve, points: dict[float, float]) -> float:
    return sum((curve(seconds) - mib) ** 2 / max(mib, 1.0) for seconds, mib in points.items())
