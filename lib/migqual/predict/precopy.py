"""Pure: pre-copy as QEMU does it, in slices of its rate limit.

The textbook's rounds (textbook.py) end when all of a round is sent. QEMU looks at the dirty log as
soon as what is left fits into the downtime limit; what was dirtied meanwhile is added to it, and
where both together fit the guest rests. The rest goes without the bandwidth limit: a migration that
is held back to 16 MiB/s does not rest for B*D.
"""

import math
from dataclasses import dataclass

from migqual.predict.curves import Dirtying
from migqual.predict.throttle import Throttle

_MOST_ROUNDS = 500
_SLICE_S = 0.1  # QEMU's rate limit counts in slices of it, and so does its idea of the bandwidth


@dataclass(frozen=True)
class Carrier:
    """What carries the migration, as a quiet one showed it.

    bandwidth_mib_s  while the guest runs: the least of link and limit
    resting_mib_s    while it rests: the limit does not count then
    setup_s          from the start to the first byte
    look_s           a look at the dirty log
    devices_s        device state and hand-over
    """

    bandwidth_mib_s: float
    resting_mib_s: float
    setup_s: float = 0.0
    look_s: float = 0.0
    devices_s: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """One migration, before it happens. `total_s` and `down_s` are those of the last round that
    was reckoned where it does not converge."""

    converges: bool
    rounds: int
    total_s: float
    down_s: float
    sent_mib: float


@dataclass(frozen=True)
class Wanted:
    """limit_s: the downtime that is allowed; deadline_s: longer is as good as never."""

    limit_s: float
    deadline_s: float = math.inf


def foretell(
    memory_mib: float,
    dirtying: Dirtying,
    carrier: Carrier,
    wanted: Wanted,
    throttle: Throttle | None = None,
) -> Prediction:
    """What pre-copy will do with `memory_mib` that are not zero. A new `throttle` slows the guest
    down step by step, and tells afterwards how far it went."""
    left, sent, spent, since, rounds = memory_mib, 0.0, carrier.setup_s, 0.0, 1
    fits = carrier.bandwidth_mib_s * wanted.limit_s
    throttle = throttle or Throttle(())
    while True:
        if left < fits:
            spent += carrier.look_s
            before, load = left, dirtying.slowed(throttle.share)
            left = load.added(before, since + carrier.look_s)
            throttle.looked(left - before, sent, spent - carrier.setup_s)
            since, rounds = 0.0, rounds + 1
        if left < fits or spent > wanted.deadline_s or rounds > _MOST_ROUNDS:
            break
        chunk = min(carrier.bandwidth_mib_s * _SLICE_S, left)
        took = chunk / carrier.bandwidth_mib_s
        left, sent, spent, since = left - chunk, sent + chunk, spent + took, since + took
    down = left / carrier.resting_mib_s + carrier.devices_s
    over = left < fits and spent + down <= wanted.deadline_s
    return Prediction(over, rounds, spent + down, down, sent + left)


def band(
    memory_mib: float,
    dirtying: Dirtying,
    carrier: Carrier,
    wanted: Wanted,
    *,
    share: float = 0.1,
) -> bool:
    """Whether the boundary is so near that `share` more or less of dirtying changes the verdict."""
    found = {
        foretell(memory_mib, dirtying.slowed(by), carrier, wanted).converges
        for by in (-share, 0.0, share)
    }
    return len(found) > 1
