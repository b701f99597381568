"""Choose the probe interval of the gap meter by the time left until the switch-over.

The gap meter, a program on the client, sends probes to the guest. With an emulated guest, a
probe every 2 ms needs two thirds of a CPU core. Therefore the meter uses this interval only when an
interruption of the guest is expected. A gap is measured with the resolution of the interval in
use. The functions have no side effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from migqual.model.outcome import JobSample
from migqual.model.plan import Plan

NS_PER_MS = 1_000_000
# Limits for the seconds until the remaining memory is sent and the switch-over begins. Between the
# two limits the probe interval does not change. With a single limit, the interval could change at
# every job sample.
SWITCHOVER_FAR_S = 2.0
SWITCHOVER_NEAR_S = 1.0


class ProbeInterval(Enum):
    """The interval between two probes, and between two requests in the TCP session, in ms."""

    IDLE = (200, 1000)
    MEDIUM = (20, 100)
    FINE = (2, 20)

    @property
    def interval_ns(self) -> int:
        """Return the interval between two probes in ns."""
        return self.value[0] * NS_PER_MS

    @property
    def meter_command(self) -> str:
        """Return the input line that makes the gap meter use this interval, e.g. `pace 2000 20`."""
        probe_ms, session_ms = self.value
        return f"pace {probe_ms * 1000} {session_ms}"


@dataclass(frozen=True)
class ProbeIntervalChange:
    """A change of the probe interval to `interval_ns`, at `at_ns` by the client's clock."""

    at_ns: int
    interval_ns: int


def find_longest_interval_ns(
    changes: Sequence[ProbeIntervalChange], from_ns: int, to_ns: int
) -> int:
    """Find the longest probe interval in use between two times.

    Returns:
        The interval in ns. Without recorded changes, the interval is `ProbeInterval.FINE`.
    """
    longest_ns = 0
    for position, change in enumerate(changes):
        end_ns = changes[position + 1].at_ns if position + 1 < len(changes) else to_ns + 1
        if change.at_ns <= to_ns and end_ns > from_ns:
            longest_ns = max(longest_ns, change.interval_ns)
    return longest_ns or ProbeInterval.FINE.interval_ns


def choose_probe_interval(
    plan: Plan, sample: JobSample, current_interval: ProbeInterval
) -> ProbeInterval:
    """Choose the probe interval for the rest of a migration.

    A plan with a timeout or with post-copy always gets `FINE`, because an interruption can come
    at any time. For all other plans, the interval depends on the time to send the remaining memory
    (memory_remaining divided by memory_bps of virDomainGetJobStats):

    - No memory sent yet: `MEDIUM`.
    - Time longer than 2 s: `MEDIUM`.
    - Time from 1 s to 2 s: the interval does not change.
    - Time shorter than 1 s, or memory_bps not known: `FINE`.

    Args:
        plan: The plan of the migration.
        sample: The latest job sample.
        current_interval: The interval in use.
    """
    if plan.timeout is not None or plan.postcopy:
        return ProbeInterval.FINE
    stats = sample.stats
    if not stats.memory_processed_bytes:
        return ProbeInterval.MEDIUM
    if not stats.memory_bytes_per_s:
        return ProbeInterval.FINE
    remaining_s = (stats.memory_remaining_bytes or 0) / stats.memory_bytes_per_s
    if remaining_s > SWITCHOVER_FAR_S:
        return ProbeInterval.MEDIUM
    return ProbeInterval.FINE if remaining_s < SWITCHOVER_NEAR_S else current_interval
