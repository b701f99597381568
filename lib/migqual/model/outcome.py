"""The outcome of a migration: status, job samples, events, and gaps in the guest's replies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from migqual.model.guest_event import GuestEvent
from migqual.model.job_stats import JobStats
from migqual.model.plan import Plan
from migqual.model.run_intervals import ClockDifference, find_run_overlap_ms


class MigrationStatus(StrEnum):
    """Status with which a migration ended.

    Attributes:
        REFUSED: The migration ended with an error. The events of QEMU show that no data moved.
        FAILED: The migration ended with an error. Data moved, or it is unknown whether data moved.
        STUCK: The migration did not end, although libvirt accepted the requests to abort.
        INTERRUPTED: migqual did not wait for the end of the migration, or aborted the migration
            because of another error, for example in a callback.
    """

    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    ABORTED = "aborted"
    STUCK = "stuck"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class JobSample:
    """The statistics of a migration job at one moment (virDomainGetJobStats).

    Attributes:
        at_s: Time of the reply, in s from the start of the migration.
        query_s: Time from the query to the reply, in s.
    """

    at_s: float
    stats: JobStats
    query_s: float = 0.0


@dataclass(frozen=True)
class DiskSample:
    """The progress of the copy of a disk at one moment (virDomainGetBlockJobInfo).

    Attributes:
        at_s: Time of the sample, in s from the start of the migration.
        target: libvirt's target name of the disk.
    """

    at_s: float
    target: str
    copied_bytes: int
    total_bytes: int

    @property
    def is_mirrored(self) -> bool:
        """Return whether all blocks are copied, so that new writes go to source and destination."""
        return self.total_bytes > 0 and self.copied_bytes >= self.total_bytes


@dataclass(frozen=True)
class Gap:
    """A time in which the client got no reply from the guest.

    Attributes:
        start_ms: Time of the last reply before the gap, on the client's clock.
        length_ms: Time without a reply, minus the probe interval.
        resolution_ms: Probe interval during the gap, which is the largest possible error of
            `length_ms`.
    """

    start_ms: float
    length_ms: float
    resolution_ms: float = 2.0


@dataclass(frozen=True)
class GapReport:
    """The replies of a guest to the probes of the client during a migration.

    Attributes:
        noise_ms: Longest time without a reply just before the migration.
        gaps: Times without a reply that are clearly longer than `noise_ms`, in order of time.
        window_ms: Length of the measured period, from the start to the end of the migration.
        session_alive: True if the TCP session between client and guest survived the migration.
        session_stall_ms: Longest time from a request to the reply in the TCP session.
    """

    noise_ms: float
    gaps: tuple[Gap, ...]
    probes_sent: int
    probes_answered: int
    window_ms: float
    session_alive: bool
    session_stall_ms: float

    @property
    def max_ms(self) -> float:
        """Return the length of the longest gap in ms, or 0 if there is no gap."""
        return max((gap.length_ms for gap in self.gaps), default=0.0)

    @property
    def resolution_ms(self) -> float | None:
        """Return the largest possible error of `max_ms` in ms, or None if the guest had no gap.

        This error is the time between two probes of the client during the longest gap.
        """
        longest = max(self.gaps, key=lambda gap: gap.length_ms, default=None)
        return None if longest is None else longest.resolution_ms

    @property
    def sum_ms(self) -> float:
        """Return the total length of all gaps in ms."""
        return sum(gap.length_ms for gap in self.gaps)


@dataclass(frozen=True)
class Outcome:
    """The result of a migration. Times are in s from the start of the migration.

    Attributes:
        virsh: The virsh command that starts the same migration by hand.
        seconds: Duration of the migration.
        message: Error message of libvirt or QEMU. Empty means that no error occurred.
        stats: Statistics of the completed job (virDomainGetJobStats).
        suspended_at_s: Time at which `Plan.timeout` suspended the guest. None means that the
            timeout did not suspend the guest.
        qemu_stats: Statistics that QEMU reported, by QEMU's name of the statistic.
        clock_difference: Mean difference of the clocks of the two hosts, measured before and after
            the migration.
    """

    plan: Plan
    guest: str
    source: str
    destination: str
    virsh: str
    status: MigrationStatus
    seconds: float
    message: str = ""
    job_samples: tuple[JobSample, ...] = ()
    disk_samples: tuple[DiskSample, ...] = ()
    events: tuple[GuestEvent, ...] = ()
    stats: JobStats = field(default_factory=JobStats)
    gap_report: GapReport | None = None
    suspended_at_s: float | None = None
    qemu_stats: Mapping[str, object] = field(default_factory=dict)
    clock_difference: ClockDifference = field(default_factory=ClockDifference)

    @property
    def pause_ms(self) -> float | None:
        """Return the ms from QEMU's event STOP at the source to RESUME at the destination.

        The times come from the clocks of the two hosts, and the measured difference of the clocks
        is subtracted. None means that an event or its time is missing.
        """
        stops = [e.host_clock_us for e in self.events if _is_timed_event(e, self.source, "STOP")]
        resumes = [
            e.host_clock_us for e in self.events if _is_timed_event(e, self.destination, "RESUME")
        ]
        if not stops or not resumes:
            return None
        resumed_us = min(at for at in resumes if at) - self.clock_difference.offset_us
        return (resumed_us - max(at for at in stops if at)) / 1000

    @property
    def run_overlap_ms(self) -> float:
        """Return for how many ms the guest certainly ran on both hosts at the same time.

        The true time may be longer, see `find_run_overlap_ms`.
        """
        return find_run_overlap_ms(
            self.events, self.source, self.destination, self.clock_difference
        )

    @property
    def has_entered_postcopy(self) -> bool:
        """Return whether the migration switched to post-copy."""
        return any(e.name == "MIGRATION" and "postcopy-active" in e.detail for e in self.events)

    @property
    def throttle_percents(self) -> tuple[int, ...]:
        """Return the distinct throttle values of auto-converge in percent, in order of time."""
        percents = (sample.stats.throttle_percent for sample in self.job_samples)
        return tuple(dict.fromkeys(value for value in percents if value))

    @property
    def throttle_max_percent(self) -> int:
        """Return the highest throttle of auto-converge in percent, or 0 if no throttle occurred."""
        return max([*self.throttle_percents, self.stats.throttle_percent or 0])


def _is_timed_event(event: GuestEvent, host: str, name: str) -> bool:
    return event.host == host and event.name == name and event.host_clock_us is not None
