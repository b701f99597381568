"""Compute percentiles of measured values."""

import math
from collections.abc import Sequence


def compute_percentile(values: Sequence[float], fraction: float) -> float:
    """Compute a percentile by nearest rank.

    Args:
        values: One or more values, in any order.
        fraction: The percentile as a fraction, 0 to 1.

    Returns:
        The n-th smallest value, where n is `fraction` times the number of values, rounded up. For
        example, the 18th smallest of 20 values for the fraction 0.9.
    """
    sorted_values = sorted(values)
    return sorted_values[max(0, math.ceil(fraction * len(sorted_values)) - 1)]
