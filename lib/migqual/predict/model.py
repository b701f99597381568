"""Pure: whether pre-copy converges, how long it takes and how long the guest rests.

Pre-copy sends all of memory, then again and again what the guest dirtied meanwhile, until the rest
fits into the downtime limit. With M to send first, U(t) the unique memory that the guest dirties in
a time t, B the bandwidth, D the limit and s what a round costs beside its bytes:

    V0 = M;  Ti = Vi/B + s;  Vi+1 = U(Ti);  the guest rests at the first Vi <= B*D
    total = setup + sum(Ti) + down;  down = Vn/B + devices

A dirty rate above the bandwidth does not by itself mean failure: a small working set saturates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

# MiB of unique memory dirtied in so many s
DirtyCurve = Callable[[float], float]

_ROUNDS = 500
_STANDSTILL = 1e-6  # of the volume; rounds that shrink by less have met their fixed point
_STEPS = 40  # of a search by halves


@dataclass(frozen=True)
class Link:
    """What carries the migration.

    bandwidth_mib_s  the least of link, limit, and what channels and TLS let through
    round_s          what a round costs beside its bytes
    setup_s          before the first round
    devices_s        device state and hand-over, while the guest rests
    """

    bandwidth_mib_s: float
    round_s: float = 0.0
    setup_s: float = 0.0
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


def saturating(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """A load that writes to random places of a working set: W * (1 - exp(-d*t/W))."""
    if working_set_mib <= 0 or rate_mib_s <= 0:
        return lambda _seconds: 0.0
    return lambda seconds: working_set_mib * -math.expm1(-rate_mib_s * seconds / working_set_mib)


def cyclic(rate_mib_s: float, working_set_mib: float) -> DirtyCurve:
    """A load that writes to its working set in order, round and round: each page once a lap."""
    return lambda seconds: min(rate_mib_s * seconds, working_set_mib)


def measured(points: dict[float, float]) -> DirtyCurve:
    """A curve through windows (s) and what was dirtied in each (MiB), straight between them.

    Before the first it comes from nothing; after the last it goes on as it last grew: what was not
    measured is not taken for saturated. Raises `ValueError` without a point, or for one that is not
    positive.
    """
    if not points or min(points) <= 0:
        raise ValueError(f"windows of a dirty curve: {sorted(points)}")
    known = [(0.0, 0.0), *sorted(points.items())]

    def curve(seconds: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(known):
            if seconds <= t1:
                return v0 + (v1 - v0) * (seconds - t0) / (t1 - t0)
        (t0, v0), (t1, v1) = known[-2:]
        return v1 + max(0.0, v1 - v0) / (t1 - t0) * (seconds - t1)

    return curve


def throttled(curve: DirtyCurve, share: float) -> DirtyCurve:
    """The same guest with `share` (0 to 1) of its CPU taken away, as auto-converge does: what it
    did in a time it now does in a longer one."""
    return lambda seconds: curve(seconds * (1.0 - share))


def predict(memory_mib: float, curve: DirtyCurve, link: Link, limit_s: float) -> Prediction:
    """What pre-copy will do. `memory_mib` is what the first round sends: zero pages do not count.

    `limit_s` is the downtime that is allowed for sending the rest.
    """
    volume, sent, spent = memory_mib, 0.0, link.setup_s
    fits = link.bandwidth_mib_s * limit_s
    for done in range(_ROUNDS):
        if volume <= fits:
            return _ended(link, volume, sent, spent, rounds=done)
        took = volume / link.bandwidth_mib_s + link.round_s
        sent, spent = sent + volume, spent + took
        left = curve(took)
        if left > fits and done and left >= volume * (1.0 - _STANDSTILL):
            break
        volume = left
    return replace(_ended(link, volume, sent, spent, rounds=done + 1), converges=False)


def smallest_limit_s(memory_mib: float, curve: DirtyCurve, link: Link) -> float:
    """The smallest downtime limit with which the migration converges, s."""
    low, high = 0.0, memory_mib / link.bandwidth_mib_s
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if predict(memory_mib, curve, link, middle).converges:
            high = middle
        else:
            low = middle
    return high


def _ended(link: Link, volume: float, sent: float, spent: float, *, rounds: int) -> Prediction:
    down = volume / link.bandwidth_mib_s + link.devices_s
    return Prediction(True, rounds, spent + down, down, sent + volume)  # noqa: FBT003
