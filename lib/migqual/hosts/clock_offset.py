"""Measure the clock difference between two hosts."""

import time
from dataclasses import dataclass

from migqual.hosts.host import Host

SAMPLE_COUNT = 5


@dataclass(frozen=True)
class ClockOffset:
    """The clock of a host minus the clock of the controller, in µs.

    Attributes:
        offset_us: Measured difference. A positive value means that the host's clock is ahead.
        error_us: Largest possible error of `offset_us`, which is half of the round-trip time.
    """

    offset_us: int
    error_us: int


def measure_clock_offset(host: Host) -> ClockOffset:
    """Measure the clock offset between a host and the controller, with `date` over SSH.

    The function takes `SAMPLE_COUNT` samples and uses the sample with the shortest round trip.
    """
    samples = []
    for _ in range(SAMPLE_COUNT):
        sent_ns = time.time_ns()
        host_time_ns = int(host.shell.run("date", "+%s%N").stdout)
        received_ns = time.time_ns()
        samples.append((received_ns - sent_ns, host_time_ns - (sent_ns + received_ns) // 2))
    round_trip_ns, offset_ns = min(samples)
    return ClockOffset(offset_ns // 1000, round_trip_ns // 2000)


def measure_clock_difference_us(host: Host, peer: Host) -> int:
    """Measure the largest possible difference between the clocks of two hosts, in µs.

    The result is the measured difference plus the possible errors of the measurements.
    """
    host_offset, peer_offset = measure_clock_offset(host), measure_clock_offset(peer)
    return (
        abs(host_offset.offset_us - peer_offset.offset_us)
        + host_offset.error_us
        + peer_offset.error_us
    )
