"""Collect the data of a running migration, and build the `Outcome` from the data."""

import time
from dataclasses import dataclass, field

from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.job import LibvirtRequest
from migqual.model.job_stats import JobStats
from migqual.model.outcome import DiskSample, JobSample, MigrationStatus, Outcome
from migqual.model.plan import Plan, TimeoutAction
from migqual.observe.event_log import EventLog


@dataclass
class MigrationProgress:
    """The settings of a single migration, and the data collected during the migration so far.

    Attributes:
        domain: The guest's domain at the source. The domain can disappear before libvirt
            reports the end of the migration.
        virsh: The virsh command with which a person can repeat the migration.
        event_log: Events of the guest on both hosts.
        samples: Job samples so far.
        disks: Samples of the copied disks so far.
        timed_out: Whether the migration exceeded the deadline of the plan.
        aborted: Whether the `OnSample` callback requested an abort.
        suspended_at_s: Seconds from the start of the migration until migqual suspended the guest
            because of a timeout. None if migqual did not suspend the guest.
        requests: Requests to libvirt to suspend the guest or to switch to post-copy, by action.
        qemu_stats: Figures that QEMU reported, by the name in QEMU, e.g. `downtime`.
    """

    guest: Guest
    domain: Domain
    source: Host
    destination: Host
    plan: Plan
    virsh: str
    event_log: EventLog
    samples: list[JobSample] = field(default_factory=list)
    disks: list[DiskSample] = field(default_factory=list)
    timed_out: bool = False
    aborted: bool = False
    suspended_at_s: float | None = None
    requests: dict[TimeoutAction, LibvirtRequest] = field(
        default_factory=lambda: {action: LibvirtRequest() for action in TimeoutAction}
    )
    qemu_stats: dict[str, object] = field(default_factory=dict)

    @property
    def refusals(self) -> list[str]:
        """Return libvirt's error messages for refused requests."""
        return [request.refusal for request in self.requests.values() if request.refusal]

    def build_outcome(
        self,
        status: MigrationStatus,
        message: str,
        *,
        ended_at: float | None = None,
        stats: JobStats | None = None,
    ) -> Outcome:
        """Build the outcome of the migration from the data collected so far.

        Args:
            status: How the migration ended.
            message: Error message of libvirt or QEMU; empty after a success.
            ended_at: End of the migration in seconds of the monotonic clock. Without `ended_at`
                the duration counts until now.
            stats: Statistics of the completed job.
        """
        return Outcome(
            plan=self.plan,
            guest=self.guest.name,
            source=self.source.name,
            destination=self.destination.name,
            virsh=self.virsh,
            status=status,
            seconds=(time.monotonic() if ended_at is None else ended_at)
            - self.event_log.started_at,
            message=message,
            job_samples=tuple(self.samples),
            disk_samples=tuple(self.disks),
            events=self.event_log.events,
            stats=stats or JobStats(),
            suspended_at_s=self.suspended_at_s,
            qemu_stats=self.qemu_stats,
        )
