"""What is known of a migration while it goes on, and its `Outcome` at any time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.job import Request
from migqual.model.outcome import DiskSample, JobSample, Outcome, Status
from migqual.model.plan import Plan, TimeoutAction
from migqual.observe.event_log import EventLog


@dataclass
class Course:
    """One migration. What it is comes first, what was seen of it so far from `samples` on.

    domain    the guest's at the source: it may be gone before the migration is known to be over
    virsh     the command that a person can repeat
    requests  what was asked of libvirt while it went on
    qemu      figures by QEMU's own names
    """

    guest: Guest
    domain: Domain
    source: Host
    destination: Host
    plan: Plan
    virsh: str
    log: EventLog
    samples: list[JobSample] = field(default_factory=list)
    disks: list[DiskSample] = field(default_factory=list)
    timed_out: bool = False
    aborted: bool = False
    suspended_at_s: float | None = None
    requests: dict[TimeoutAction, Request] = field(
        default_factory=lambda: {action: Request() for action in TimeoutAction}
    )
    qemu: dict[str, object] = field(default_factory=dict)

    @property
    def refusals(self) -> list[str]:
        """What libvirt would not do, in its words."""
        return [one.refusal for one in self.requests.values() if one.refusal]

    def outcome(
        self,
        status: Status,
        words: str,
        *,
        ended: float | None = None,
        stats: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """As far as it is known now. `ended`: when it was over, by the monotonic clock; without,
        its time is that until now."""
        return Outcome(
            plan=self.plan,
            guest=self.guest.name,
            source=self.source.name,
            destination=self.destination.name,
            virsh=self.virsh,
            status=status,
            seconds=(time.monotonic() if ended is None else ended) - self.log.started,
            words=words,
            samples=tuple(self.samples),
            disks=tuple(self.disks),
            events=self.log.events,
            stats=stats or {},
            suspended_at_s=self.suspended_at_s,
            qemu=self.qemu,
        )
