"""Find out when a guest ran on which host, from QEMU's events STOP and RESUME of both hosts.

The times of the events come from the clocks of the two hosts, so the difference of the clocks is
subtracted first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from migqual.model.guest_event import GuestEvent

US_PER_MS = 1000


@dataclass(frozen=True)
class ClockDifference:
    """The clock of the destination minus the clock of the source, in µs.

    Attributes:
        offset_us: Measured difference. A positive value means that the destination is ahead.
        error_us: Largest possible error of `offset_us`. 0 means that both hosts have one clock.
    """

    offset_us: int = 0
    error_us: int = 0

    def combine(self, later: "ClockDifference") -> "ClockDifference":
        """Combine this difference with a later measurement, because a clock may drift or be set.

        The result is the mean. The error covers both measurements.
        """
        drift_us = abs(self.offset_us - later.offset_us)
        return ClockDifference(
            (self.offset_us + later.offset_us) // 2,
            max(self.error_us, later.error_us) + (drift_us + 1) // 2,
        )


def find_run_overlap_ms(
    events: Iterable[GuestEvent], source: str, destination: str, difference: ClockDifference
) -> float:
    """Find for how many ms a guest certainly ran on both hosts at the same time.

    The function assumes that the guest runs only at the source before the first event. If the last
    event of a host is RESUME, the function assumes that the guest continues to run on this host.

    Args:
        events: The events of the guest from both hosts, in any order.
        source: Name of the source host.
        destination: Name of the destination host.
        difference: Difference of the clocks of the two hosts.

    Returns:
        The time on both hosts, minus the largest error of the clock difference. The time is
        infinite if the guest runs on both hosts after the last event. Exception: without an event
        STOP of the source, the result is 0.0, because no event shows when the guest stopped there.
    """
    events = tuple(events)
    source_runs = list(_list_runs(events, source, offset_us=0, is_running=True))
    destination_runs = list(
        _list_runs(events, destination, offset_us=difference.offset_us, is_running=False)
    )
    if source_runs == [(-inf, inf)]:  # no event STOP
        return 0.0
    overlap_us = sum(
        max(0.0, min(source_end, destination_end) - max(source_start, destination_start))
        for source_start, source_end in source_runs
        for destination_start, destination_end in destination_runs
    )
    return max(0.0, overlap_us - difference.error_us) / US_PER_MS


def _list_runs(
    events: Iterable[GuestEvent], host: str, *, offset_us: int, is_running: bool
) -> Iterator[tuple[float, float]]:
    """List start and end of each time in which a guest ran on a host, in µs.

    The times are by the clock of the source.
    """
    times = sorted(
        (event.host_clock_us - offset_us, event.name)
        for event in events
        if event.host == host
        and event.name in {"STOP", "RESUME"}
        and event.host_clock_us is not None
    )
    start_us = -inf if is_running else None
    for at_us, name in times:
        if name == "RESUME" and start_us is None:
            start_us = at_us
        elif name == "STOP" and start_us is not None:
            yield start_us, at_us
            start_us = None
    if start_us is not None:
        yield start_us, inf
