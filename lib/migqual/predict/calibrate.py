"""Pure: what carries migrations, from some of a guest at rest, held back and not."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from migqual.predict.precopy import Carrier

_LEAST_S = 0.005
_LEAST_MIB_S = 1.0


@dataclass(frozen=True)
class Quiet:
    """A migration of a guest at rest.

    limit_mib_s  None where it was not held back
    total_s      all of it
    moving_s     from the first byte to the last, the rest included
    down_s       the rest
    sent_mib     without its zero pages' headers
    """

    limit_mib_s: float | None
    total_s: float
    moving_s: float
    down_s: float
    sent_mib: float


@dataclass(frozen=True)
class Calibrated:
    """setup_s beside the bytes; link_mib_s at full speed; devices_s beside the last bytes."""

    setup_s: float
    link_mib_s: float
    devices_s: float

    def carrier(self, limit_mib_s: float | None) -> Carrier:
        """With a bandwidth limit, or without one."""
        least = self.link_mib_s if limit_mib_s is None else min(limit_mib_s, self.link_mib_s)
        return Carrier(least, self.link_mib_s, self.setup_s, devices_s=self.devices_s)


def calibrated(quiets: Sequence[Quiet], *, downtime_s: float) -> Calibrated:
    """Of the migrations that were held back what fits into the downtime goes last, at the link's
    own speed; one that was not held back shows that speed, and is over before QEMU knows what
    would fit. Raises `ValueError` without both."""
    held = [one for one in quiets if one.limit_mib_s is not None]
    free = [one for one in quiets if one.limit_mib_s is None]
    if not held or not free:
        raise ValueError("references: at least one with a limit and one without")
    setup = median(one.total_s - one.moving_s for one in quiets)
    link = median(_speed(one) for one in free)
    devices = median(one.down_s - _last_mib(one, downtime_s) / link for one in quiets)
    return Calibrated(max(_LEAST_S, setup), link, max(_LEAST_S, devices))


def _speed(one: Quiet) -> float:
    return max(_LEAST_MIB_S, one.sent_mib / max(_LEAST_S, one.moving_s - one.down_s))


def _last_mib(one: Quiet, downtime_s: float) -> float:
    return min(one.sent_mib, (one.limit_mib_s or 0.0) * downtime_s)
