"""Pure: how fast a migration went, over stretches of seconds; whether its bytes can be believed.

QEMU hands out a limit in slices of 100 ms and may overdraw one, so less than a second says little.
"""

import statistics
from collections.abc import Iterator, Sequence

from migqual.model.outcome import JobSample

MIB = 2**20
WINDOW_SECONDS = 2.0
# the figures are from some moment between question and answer: a slower one would blur a window
ANSWER_SECONDS = 0.1
# A migration that takes less than this share of its limit does not use it.
USED = 0.85
# The interface counts headers too (up to 66 bytes with each 1448), and the little that the checks
# send; the job counts all of the memory that an interface must have seen.
MOST_ON_LINK = 1.08
LEAST_ON_LINK = 0.98


def rates(
    samples: Sequence[JobSample], *, since_s: float = 0.0, until_s: float = float("inf")
) -> tuple[float, ...]:
    """MiB/s of guest memory over every stretch of `WINDOW_SECONDS` or a little more."""
    return tuple(_rates(samples, since_s, until_s))


def _rates(samples: Sequence[JobSample], since_s: float, until_s: float) -> Iterator[float]:
    points = [
        (sample.at_s, int(sample.stats["memory_processed"]))
        for sample in samples
        if sample.took_s <= ANSWER_SECONDS
        and since_s <= sample.at_s <= until_s
        and int(sample.stats.get("memory_processed", 0))
    ]
    end = 0
    for at_s, sent in points:
        while end < len(points) and points[end][0] - at_s < WINDOW_SECONDS:
            end += 1
        if end == len(points):
            return
        later_s, more = points[end]
        yield (more - sent) / MIB / (later_s - at_s)


def typical(found: Sequence[float]) -> float:
    """The speed that half of the stretches reach, MiB/s."""
    return statistics.median(found)


def unused(limit_mib_s: float, found: Sequence[float]) -> bool:
    """Whether a limit was not made use of: the typical speed stays well below it."""
    return typical(found) < USED * limit_mib_s


def doubt(on_link: int, told: int, *, least: float = LEAST_ON_LINK) -> str:
    """Why the kernel's count of bytes on the link cannot be that of a migration whose job tells of
    `told`: others used the link as well, or it went another way. Empty when it can."""
    share = on_link / told
    if least <= share <= MOST_ON_LINK:
        return ""
    return f"{on_link} bytes crossed the link, and the job tells of {told}: {share:.1%}"


def over(limit_mib_s: float, tolerance_percent: float, found: Sequence[float]) -> list[float]:
    """Those of `found` that break the limit by more than the tolerance."""
    most = limit_mib_s * (1 + tolerance_percent / 100)
    return [rate for rate in found if rate > most]
