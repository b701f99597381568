"""Calibrate the gap meter by comparing measured gaps with pauses of the guest of known length.

Two references exist for a gap. QEMU's events show the length of the pause. The host's kernel shows
the silence, which is the longest time without a reply on the guest's network interface. The
silence is longer than the pause, because the guest needs time to continue. The error of the meter
is the difference between the measured gap and the silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.model.guest_event import GuestEvent
from migqual.observe import gaps
from migqual.observe.echo_replies import capture_echo_replies
from migqual.observe.event_log import collect_events
from migqual.observe.gap_meter import GapMeter
from migqual.observe.probe_interval import NS_PER_MS, ProbeInterval

PAUSES_MS = (50, 200, 500)
NS_PER_US = 1000


@dataclass(frozen=True)
class PauseMeasurement:
    """The measurement of one known pause of the guest, in ms.

    Attributes:
        injected_ms: Length of the pause, from QEMU's event STOP to RESUME.
        host_silence_ms: Longest time without a reply of the guest, seen by the host's kernel.
        measured_ms: Gap measured by the gap meter.
        noise_ms: Second longest silence during the measurement, not caused by the pause.
        probe_delay_ms: Largest delay of a probe that the client sent too late.
    """

    injected_ms: float
    host_silence_ms: float
    measured_ms: float
    noise_ms: float = 0.0
    probe_delay_ms: float = 0.0

    @property
    def error_ms(self) -> float:
        """Return the error of the gap meter in ms, which is never negative.

        The error is the larger of two values. One value is the difference between `measured_ms`
        and `host_silence_ms`. The other value is `probe_delay_ms`, because a late probe of the
        client also causes a gap.
        """
        return max(abs(self.measured_ms - self.host_silence_ms), self.probe_delay_ms)

    @property
    def excess_over_qemu_ms(self) -> float:
        """Return the measured gap minus the length of QEMU's pause, in ms."""
        return self.measured_ms - self.injected_ms


@dataclass(frozen=True)
class SuspendInterval:
    """The start and the end of a pause of the guest by QEMU, in µs by the host's wall clock."""

    stop_us: int
    resume_us: int

    @property
    def length_ms(self) -> float:
        """Return the length of the pause in ms."""
        return (self.resume_us - self.stop_us) / 1000


def calibrate_gap_meter(
    guest: Guest, meter: GapMeter, payload: PurePosixPath | str, *, rounds: int = 7
) -> tuple[PauseMeasurement, ...]:
    """Pause the guest for 50, 200 and 500 ms, `rounds` times each, and measure each pause.

    Args:
        guest: The running guest.
        meter: The gap meter of the guest.
        payload: Path of migqual-payload on the guest's host.
        rounds: Number of pauses of each length.

    Returns:
        The measurements in the order of the pauses.

    Raises:
        InconclusiveError: The host captured replies of the guest during a pause.
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
    """Find the pause between QEMU's events STOP and RESUME; return None if an event is missing."""
    stop_us = next(
        (event.host_clock_us for event in events if event.name == "STOP" and event.host_clock_us),
        None,
    )
    resume_us = next(
        (e.host_clock_us for e in events if e.name == "RESUME" and e.host_clock_us), None
    )
    return SuspendInterval(stop_us, resume_us) if stop_us and resume_us else None


def measure_host_silence_ms(replies_us: Sequence[int], suspend_interval: SuspendInterval) -> float:
    """Measure the longest time without a reply around a pause of the guest.

    Args:
        replies_us: Times at which the host saw replies, in µs by the host's wall clock.
        suspend_interval: The pause, from QEMU's event STOP to RESUME.

    Returns:
        The longest silence in ms.

    Raises:
        InconclusiveError: Each silence is shorter than the pause. A suspended guest cannot reply,
            so the host's capture of the replies is not reliable.
    """
    replies_ns = [reply_us * NS_PER_US for reply_us in replies_us]
    silences = gaps.list_silences(
        replies_ns, suspend_interval.stop_us * NS_PER_US, suspend_interval.resume_us * NS_PER_US
    )
    longest_ms = gaps.find_longest_ms(silences)  # 0 if the capture has no replies
    if longest_ms < suspend_interval.length_ms - ProbeInterval.FINE.interval_ns / NS_PER_MS:
        raise InconclusiveError(
            f"QEMU suspended the guest for {suspend_interval.length_ms:.1f} ms, and a suspended "
            "guest cannot reply. But in the capture on the host, the longest time without a reply "
            f"is only {longest_ms:.1f} ms. The capture is not reliable: run the test again"
        )
    return longest_ms
