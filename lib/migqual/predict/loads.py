"""Pure: the dirty curve of a load of the guest program, from what it does. The oracle for what is
measured: a prediction for a guest of one's own never knows it."""

from migqual.model.guest import Pattern
from migqual.predict.curves import DirtyCurve, cyclic, saturating

HOT_SHARE = 0.1  # of the working set; nine writes in ten go there
_COLD_WRITES = 26 / 256  # go anywhere, the hot tenth included


def curve_of(pattern: Pattern, rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """Unique MiB that are dirtied in a time by writes of `rate_mib_s`."""
    if pattern is Pattern.SEQUENTIAL:
        return cyclic(rate_mib_s, working_set_mib)
    if pattern is Pattern.RANDOM:
        return saturating(rate_mib_s, working_set_mib)
    cold_rate = rate_mib_s * _COLD_WRITES * (1.0 - HOT_SHARE)
    hot = saturating(rate_mib_s - cold_rate, working_set_mib * HOT_SHARE)
    cold = saturating(cold_rate, working_set_mib * (1.0 - HOT_SHARE))
    return lambda seconds: hot(seconds) + cold(seconds)
