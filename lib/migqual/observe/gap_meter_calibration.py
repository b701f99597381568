"""Calibrate the gap meter: pause the guest for known times, and compare the measured gaps.

The meter is compared with two references. QEMU's clock gives the start and the end of the
pause. The host's kernel gives the times of the guest's replies; the first reply leaves only
after the guest has woken up. The meter's error is the meter's extra time over the kernel's
figure. The guest's share is the kernel's extra time over QEMU's figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.model.outcome import GuestEvent
from migqual.observe import gaps
from migqual.observe.echo_replies import capture_echo_replies
from migqual.observe.event_log import collect_events
from migqual.observe.gap_meter import GapMeter
from migqual.observe.probe_interval import NS_PER_MS, ProbeInterval

PAUSES_MS = (50, 200, 500)
NS_PER_US = 1000


@dataclass(frozen=True)
class PauseMeasurement:
    """Measurement of a single known pause, all times in ms.

    Attributes:
        injected_ms: Length by QEMU's own clock, from STOP to RESUME.
        host_silence_ms: Time without a reply leaving the guest, seen by the host's kernel.
        measured_ms: Gap measured by the meter.
        noise_ms: The longest other silence around the pause, caused by the machine alone.
        probe_delay_ms: The longest delay of a due probe during the measurement.
    """

    injected_ms: float
    host_silence_ms: float
    measured_ms: float
    noise_ms: float = 0.0
    probe_delay_ms: float = 0.0

    @property
    def error_ms(self) -> float:
        """Return the meter's error, never negative.

        The meter saw the silence end early or late, or sent a probe late.
        """
        return max(abs(self.measured_ms - self.host_silence_ms), self.probe_delay_ms)

    @property
    def excess_over_qemu_ms(self) -> float:
        """Return how much longer the measured gap is than the pause by QEMU's clock."""
        return self.measured_ms - self.injected_ms


@dataclass(frozen=True)
class SuspendInterval:
    """Start and end of QEMU's pause of the guest, in µs of the host's wall clock."""

    stop_us: int
    resume_us: int

    @property
    def length_ms(self) -> float:
        """Return the length of the pause."""
        return (self.resume_us - self.stop_us) / 1000


def calibrate_gap_meter(
    guest: Guest, meter: GapMeter, payload: PurePosixPath | str, *, rounds: int = 7
) -> tuple[PauseMeasurement, ...]:
    """Pause the guest `rounds` times each for 50, 200 and 500 ms, and measure each pause.

    Args:
        guest: The running guest.
        meter: The gap meter of the guest.
        payload: Path of migqual-payload on the guest's host.
        rounds: Number of pauses of each length.

    Returns:
        The measurements in the order of the pauses.

    Raises:
        InconclusiveError: The host did not see the guest silent while QEMU held the guest.
    """
    lengths_ms = [length_ms for _ in range(rounds) for length_ms in PAUSES_MS]
    with meter.probe_at(ProbeInterval.FINE), capture_echo_replies(guest, payload) as replies:
        measurements = [_suspend_and_measure(guest, meter, length) for length in lengths_ms]
    return tuple(
        PauseMeasurement(
            suspend_interval.length_ms,
            measure_host_silence_ms(replies.times_us, suspend_interval),
            *meter_figures,
        )
        for suspend_interval, meter_figures in measurements
    )


def _suspend_and_measure(
    guest: Guest, meter: GapMeter, length_ms: int
) -> tuple[SuspendInterval, tuple[float, float, float]]:
    domain = guest.domain
    with collect_events(guest.name, (guest.host,)) as event_log:
        start_ns = meter.mark_time_ns()
        meter.wait_for_reply(start_ns)
        domain.suspend()
        Deadline(60.0).pause(length_ms / 1000)
        domain.resume()
        end_ns = meter.mark_time_ns()
        meter.wait_for_reply(end_ns)
        suspend_interval = Deadline(5.0).wait_for(
            "QEMU's events STOP and RESUME", lambda: find_suspend_interval(event_log.events)
        )
    trace = meter.trace
    silences = gaps.list_silences(trace.replies_ns, start_ns, end_ns, trace.interval_changes)
    longest_ms, noise_ms, *_ = *sorted((gap.length_ms for gap in silences), reverse=True), 0.0, 0.0
    return suspend_interval, (
        longest_ms,
        noise_ms,
        gaps.measure_probe_delay_ms(trace.probe_times, start_ns, end_ns, trace.interval_changes),
    )


def find_suspend_interval(events: Sequence[GuestEvent]) -> SuspendInterval | None:
    """Find the time from QEMU's STOP to RESUME; None without both events. No side effects."""
    stop_us = next(
        (event.host_clock_us for event in events if event.name == "STOP" and event.host_clock_us),
        None,
    )
    resume_us = next(
        (e.host_clock_us for e in events if e.name == "RESUME" and e.host_clock_us), None
    )
    return SuspendInterval(stop_us, resume_us) if stop_us and resume_us else None


def measure_host_silence_ms(replies_us: Sequence[int], suspend_interval: SuspendInterval) -> float:
    """Measure the host's silence around QEMU's pause. The function has no side effects.

    Args:
        replies_us: Times of the replies, in µs of the host's wall clock.
        suspend_interval: The pause by QEMU's clock.

    Returns:
        The longest silence in ms.

    Raises:
        InconclusiveError: No silence is as long as the pause. The capture on the host is
            unreliable then.
    """
    replies_ns = [reply_us * NS_PER_US for reply_us in replies_us]
    silences = gaps.list_silences(
        replies_ns, suspend_interval.stop_us * NS_PER_US, suspend_interval.resume_us * NS_PER_US
    )
    longest_ms = gaps.find_longest_ms(silences)  # 0 where nothing was seen at all
    if longest_ms < suspend_interval.length_ms - ProbeInterval.FINE.interval_ns / NS_PER_MS:
        raise InconclusiveError(
            f"QEMU suspended the guest for {suspend_interval.length_ms:.1f} ms, but its host saw "
            f"a silence of only {longest_ms:.1f} ms"
        )
    return longest_ms
