"""Pure: a dirty curve through measured windows, its head filled in.

Where a stack measures whole seconds only, what happens within the first is not known. The load that
fits all windows best, in order or at random over a working set, says how the curve gets there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from migqual.predict.model import DirtyCurve, cyclic, measured, saturating

_STEPS = 60


@dataclass(frozen=True)
class Fitted:
    """curve: U(t); working_set_mib: what can be dirtied; rate_mib_s: at the beginning."""

    curve: DirtyCurve
    rate_mib_s: float
    working_set_mib: float


def fitted(points: dict[float, float]) -> Fitted:
    """Through `points`: windows (s) and what was dirtied in each (MiB)."""
    through = measured(points)
    most = max(points.values())
    if most <= 0.0:
        return Fitted(lambda _seconds: 0.0, 0.0, 0.0)
    best = min(_candidates(points), key=lambda c: _miss(c[0](c[1], c[2]), points))
    shape, rate, size = best
    load = shape(rate, size)
    first = min(points)
    scale = points[first] / load(first) if load(first) else 1.0

    def curve(seconds: float) -> float:
        if seconds <= first:
            return load(seconds) * scale
        return min(through(seconds), max(size, most)) if seconds > max(points) else through(seconds)

    return Fitted(curve, rate * scale, max(size, most))


def _candidates(
    points: dict[float, float],
) -> list[tuple[Callable[[float, float], DirtyCurve], float, float]]:
    """Shapes with sets from what was seen to far more, each with the rates worth trying."""
    most, first = max(points.values()), min(points)
    sizes = [most * 1.06**step for step in range(_STEPS)]
    rates = [points[first] / first * 1.04**step for step in range(_STEPS)]
    return [
        (shape, rate, size) for shape in (cyclic, saturating) for size in sizes for rate in rates
    ]


def _miss(curve: DirtyCurve, points: dict[float, float]) -> float:
    return sum((curve(seconds) - mib) ** 2 / max(mib, 1.0) for seconds, mib in points.items())
