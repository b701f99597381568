"""How far apart the clocks of two hosts are."""

import time
from dataclasses import dataclass

from migqual.hosts.host import Host

ASKED = 5


@dataclass(frozen=True)
class ClockOffset:
    """A host's clock minus the controller's, and how wrong that may be; µs."""

    offset_us: int
    error_us: int


def offset(host: Host) -> ClockOffset:
    """Ask the host for its time; the quickest of a few answers is the truest."""
    answers = []
    for _ in range(ASKED):
        before = time.time_ns()
        told = int(host.shell.run("date", "+%s%N").stdout)
        after = time.time_ns()
        answers.append((after - before, told - (before + after) // 2))
    round_trip, difference = min(answers)
    return ClockOffset(difference // 1000, round_trip // 2000)


def disagreement_us(one: Host, other: Host) -> int:
    """The largest difference that the clocks of two hosts may have, µs."""
    a, b = offset(one), offset(other)
    return abs(a.offset_us - b.offset_us) + a.error_us + b.error_us
