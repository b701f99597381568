"""Compute percentiles of measured values."""

import math
from collections.abc import Sequence


def compute_percentile(values: Sequence[float], fraction: float) -> float:
    """Compute a percentile by nearest rank.

    Args:
        values: The values, in any order; at least a single value.
        fraction: The percentile as a fraction, 0 to 1.

    Returns:
        The smallest of `values` for which at least `fraction` of all values are less or equal.
    """
    sorted_values = sorted(values)
    return sorted_values[max(0, math.ceil(fraction * len(sorted_values)) - 1)]
