"""Compute the throughput of a migration, and compare sent bytes with bytes on the link.

The functions are pure. QEMU limits the bandwidth in slices of 100 ms, and may send too much in
one slice. So the throughput in a time window shorter than 1 s is inexact.
"""

import statistics
from collections.abc import Iterator, Sequence

from migqual.model.outcome import JobSample
from migqual.units import MIB

WINDOW_SECONDS = 2.0
# A sample is from an unknown moment between query and reply. If a query takes longer than this
# limit, the length of a time window is too inexact.
QUERY_SECONDS_MAX = 0.1
# If the throughput is below this share of the bandwidth limit, the migration does not use the
# limit.
USED_SHARE_MIN = 0.85
# Accepted range of the bytes on the link, divided by the bytes that the job reports. The first
# number may be larger, because the network interface also counts headers (up to 66 bytes per 1448
# bytes) and the small traffic of the checks. The first number cannot be much smaller, because all
# memory that the job reports must cross the interface.
LINK_SHARE_MAX = 1.08
LINK_SHARE_MIN = 0.98


def compute_window_rates(
    samples: Sequence[JobSample], *, since_s: float = 0.0, until_s: float = float("inf")
) -> tuple[float, ...]:
    """Compute the throughput of guest memory in time windows of at least `WINDOW_SECONDS`.

    A window starts at each sample, so the windows overlap.

    Args:
        samples: Samples of the migration job. A sample is ignored if the query took longer than
            `QUERY_SECONDS_MAX`.
        since_s: Start of the evaluated period, in s from the start of the migration.
        until_s: End of the evaluated period, in s from the start of the migration.

    Returns:
        The throughput of each window in MiB/s. Empty if the period is shorter than a window.
    """
    return tuple(_iterate_window_rates(samples, since_s, until_s))


def _iterate_window_rates(
    samples: Sequence[JobSample], since_s: float, until_s: float
) -> Iterator[float]:
    points = [
        (sample.at_s, sample.stats.memory_processed_bytes)
        for sample in samples
        if sample.query_s <= QUERY_SECONDS_MAX
        and since_s <= sample.at_s <= until_s
        and sample.stats.memory_processed_bytes
    ]
    end = 0
    for at_s, start_bytes in points:
        while end < len(points) and points[end][0] - at_s < WINDOW_SECONDS:
            end += 1
        if end == len(points):
            return
        end_s, end_bytes = points[end]
        yield (end_bytes - start_bytes) / MIB / (end_s - at_s)


def compute_median_rate(rates_mib_s: Sequence[float]) -> float:
    """Compute the median of `rates_mib_s`, in MiB/s."""
    return statistics.median(rates_mib_s)


def is_limit_unused(limit_mib_s: float, rates_mib_s: Sequence[float]) -> bool:
    """Return whether the median of `rates_mib_s` is less than `USED_SHARE_MIN` of `limit_mib_s`."""
    return compute_median_rate(rates_mib_s) < USED_SHARE_MIN * limit_mib_s


def describe_byte_mismatch(
    link_bytes: int, reported_bytes: int, *, min_share: float = LINK_SHARE_MIN
) -> str:
    """Describe a difference between the bytes on the link and the bytes that the job reports.

    A difference has two possible causes: other traffic used the link, or the migration used
    another link.

    Args:
        link_bytes: Bytes that the kernel counted on the link during the migration.
        reported_bytes: Bytes that the job reports as sent.
        min_share: Smallest accepted value of `link_bytes` / `reported_bytes`.

    Returns:
        A sentence with the numbers. The text is empty if the ratio is accepted.
    """
    share = link_bytes / reported_bytes
    if min_share <= share <= LINK_SHARE_MAX:
        return ""
    return (
        f"{link_bytes} bytes crossed the link, which is {share:.1%} of the {reported_bytes} bytes "
        "that the migration job reports"
    )


def select_rates_over_limit(
    limit_mib_s: float, tolerance_percent: float, rates_mib_s: Sequence[float]
) -> list[float]:
    """Select from `rates_mib_s` the rates above the bandwidth limit plus the tolerance."""
    max_rate_mib_s = limit_mib_s * (1 + tolerance_percent / 100)
    return [rate for rate in rates_mib_s if rate > max_rate_mib_s]
