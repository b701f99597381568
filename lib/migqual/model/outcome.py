"""What a migration did: samples, events, figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from migqual.model.plan import Plan


class Status(StrEnum):
    """How a migration ended. STUCK did not end though libvirt took the aborts; BROKEN_OFF is one
    whose end was not waited for, or that something beside it broke off."""

    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    ABORTED = "aborted"
    STUCK = "stuck"
    BROKEN_OFF = "broken-off"


@dataclass(frozen=True)
class JobSample:
    """virDomainGetJobStats at one moment. `at_s` counts from the start of the migration to the
    answer, `took_s` from the question to the answer."""

    at_s: float
    stats: Mapping[str, int | str]
    took_s: float = 0.0


@dataclass(frozen=True)
class DiskSample:
    """How far the copy of one disk is (virDomainGetBlockJobInfo): bytes done, bytes in all."""

    at_s: float
    target: str
    done: int
    total: int

    @property
    def mirrored(self) -> bool:
        """Copied once; what the guest writes now goes to both images."""
        return self.total > 0 and self.done >= self.total


@dataclass(frozen=True)
class HostEvent:
    """An event of a guest. `at_s` is the controller's clock from the start of the migration;
    `host_us` the host's own clock in microseconds, where QEMU gave it."""

    host: str
    name: str
    at_s: float
    host_us: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Gap:
    """An interval in which the client got no answer: clock of the client, ms.

    resolution_ms  the interval at which the client asked meanwhile; the length is true to it
    """

    start_ms: float
    length_ms: float
    resolution_ms: float = 2.0


@dataclass(frozen=True)
class GapReport:
    """What the client saw through one migration.

    noise_ms  the longest silence of the undisturbed window just before
    gaps      silences above the noise floor, in order of time
    """

    noise_ms: float
    gaps: tuple[Gap, ...]
    sent: int
    answered: int
    window_ms: float
    session_alive: bool
    session_stall_ms: float

    @property
    def max_ms(self) -> float:
        return max((gap.length_ms for gap in self.gaps), default=0.0)

    @property
    def resolution_ms(self) -> float | None:
        """Of the longest gap; None without one."""
        longest = max(self.gaps, key=lambda gap: gap.length_ms, default=None)
        return None if longest is None else longest.resolution_ms

    @property
    def sum_ms(self) -> float:
        return sum(gap.length_ms for gap in self.gaps)


@dataclass(frozen=True)
class Outcome:
    """One migration as libvirt and the observers saw it. Times in s, `stats` as libvirt names
    them (virDomainGetJobStats of the completed job)."""

    plan: Plan
    guest: str
    source: str
    destination: str
    virsh: str
    status: Status
    seconds: float
    words: str = ""
    samples: tuple[JobSample, ...] = ()
    disks: tuple[DiskSample, ...] = ()
    events: tuple[HostEvent, ...] = ()
    stats: Mapping[str, int | str] = field(default_factory=dict)
    gaps: GapReport | None = None
    suspended_at_s: float | None = None
    qemu: Mapping[str, object] = field(default_factory=dict)

    @property
    def pause_ms(self) -> float | None:
        """From QEMU's STOP at the source to its RESUME at the destination, by the hosts' clocks;
        negative when both ran at once, None when one of the two events is missing."""
        stops = [e.host_us for e in self.events if _is(e, self.source, "STOP")]
        resumes = [e.host_us for e in self.events if _is(e, self.destination, "RESUME")]
        if not stops or not resumes:
            return None
        return (min(at for at in resumes if at) - max(at for at in stops if at)) / 1000

    @property
    def went_postcopy(self) -> bool:
        """Whether the guest ran at the destination before all of its memory was there."""
        return any(e.name == "MIGRATION" and "postcopy-active" in e.detail for e in self.events)

    @property
    def throttle_percents(self) -> tuple[int, ...]:
        """What auto-converge took from the guest, each value once, in the order of time."""
        seen = (int(sample.stats.get("auto_converge_throttle", 0)) for sample in self.samples)
        return tuple(dict.fromkeys(value for value in seen if value))

    @property
    def throttle_max_percent(self) -> int:
        seen = [int(sample.stats.get("auto_converge_throttle", 0)) for sample in self.samples]
        return max([*seen, int(self.stats.get("auto_converge_throttle", 0))])


def _is(event: HostEvent, host: str, name: str) -> bool:
    return event.host == host and event.name == name and event.host_us is not None
