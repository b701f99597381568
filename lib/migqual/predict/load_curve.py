"""Build the dirty curve of the guest program's load from the parameters of the load (pure).

Tests compare measurements with the curve. A prediction for a user's own guest never knows the
load.
"""

from migqual.model.guest_spec import WritePattern
from migqual.predict.dirty_curve import DirtyCurve, build_cyclic_curve, build_saturating_curve

HOT_SHARE = 0.1  # of the working set; nine writes in ten go there
_COLD_WRITE_SHARE = 26 / 256  # go anywhere, the hot tenth included


def build_load_curve(
    pattern: WritePattern, rate_mib_s: float, working_set_mib: float
) -> DirtyCurve:
    """Build the dirty curve of a load.

    Args:
        pattern: Order of the writes.
        rate_mib_s: Rate of the writes in MiB/s.
        working_set_mib: Size of the written memory in MiB.

    Returns:
        The unique MiB dirtied in a time in s.
    """
    if pattern is WritePattern.SEQUENTIAL:
        return build_cyclic_curve(rate_mib_s, working_set_mib)
    if pattern is WritePattern.RANDOM:
        return build_saturating_curve(rate_mib_s, working_set_mib)
    cold_rate_mib_s = rate_mib_s * _COLD_WRITE_SHARE * (1.0 - HOT_SHARE)
    hot_curve = build_saturating_curve(rate_mib_s - cold_rate_mib_s, working_set_mib * HOT_SHARE)
    cold_curve = build_saturating_curve(cold_rate_mib_s, working_set_mib * (1.0 - HOT_SHARE))
    return lambda seconds: hot_curve(seconds) + cold_curve(seconds)
