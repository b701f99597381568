"""Pure: what carries migrations, from one quiet migration that is held back and one that is not."""

from dataclasses import dataclass

from migqual.predict.qemu import Carrier

_LEAST_S = 0.005
_LEAST_MIB_S = 1.0


@dataclass(frozen=True)
class Quiet:
    """A migration of a guest at rest. Times in s; sent_mib without its zero pages' headers."""

    total_s: float
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


def calibrated(held: Quiet, free: Quiet, *, limit_mib_s: float, downtime_s: float) -> Calibrated:
    """`held` was limited to `limit_mib_s`. The last of it, what fits into the downtime, goes at
    the link's own speed."""
    last = min(held.sent_mib, limit_mib_s * downtime_s)
    paced = (held.sent_mib - last) / limit_mib_s
    setup = max(_LEAST_S, held.total_s - paced - held.down_s)
    spent = max(_LEAST_S, free.total_s - setup - free.down_s)
    link = max(_LEAST_MIB_S, limit_mib_s, free.sent_mib / spent)
    return Calibrated(setup, link, max(_LEAST_S, held.down_s - last / link))
