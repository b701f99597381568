"""`migrate`: start a migration, follow its job, say how it ended."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from migqual.errors import (
    MigrationAborted,
    MigrationError,
    MigrationFailed,
    MigrationRefused,
    MigrationTimedOut,
    StackError,
)
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration import settings
from migqual.migration.job import Job, Request
from migqual.model import command
from migqual.model.command import Endpoint
from migqual.model.inventory import bracketed
from migqual.model.outcome import DiskSample, JobSample, Outcome, Status
from migqual.model.plan import Control, Plan, StorageCopy, TimeoutAction
from migqual.observe.event_log import EventLog, following

SAMPLE_SECONDS = 0.025  # from one question to the next; a slow answer delays the next one
BREATH_SECONDS = 0.005  # from an answer to the next question at least
DISK_SECONDS = 0.02  # from a look at a disk that is copied to the next
DISK_JOIN_SECONDS = 5.0

_ERRORS: Mapping[Status, type[MigrationError]] = {
    Status.REFUSED: MigrationRefused,
    Status.FAILED: MigrationFailed,
    Status.TIMED_OUT: MigrationTimedOut,
    Status.ABORTED: MigrationAborted,
}

# Called with every sample; returning True aborts the migration.
OnSample = Callable[[JobSample], bool]


@dataclass
class _Followed:
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


def endpoint(destination: Host, plan: Plan) -> Endpoint:
    """How the destination is reached under `plan`."""
    entry = destination.entry
    uri = entry.peer_uri if plan.control is Control.PEER_TO_PEER else destination.plain_uri
    return Endpoint(uri, f"tcp://{bracketed(entry.migration_address or entry.address)}")


def migrate(
    guest: Guest, destination: Host, plan: Plan, *, on_sample: OnSample | None = None
) -> Outcome:
    """Migrate `guest` from where it runs to `destination`.

    Follows virDomainMigrate3 (managed direct) or virDomainMigrateToURI3 (peer-to-peer). Returns
    when the guest is at the destination, running or paused as planned; `guest.host` says so. Raises
    `MigrationRefused`, `MigrationFailed`, `MigrationTimedOut` or `MigrationAborted` with the
    stack's words and the `Outcome` so far; `InconclusiveError` when it cannot be aborted. Whatever
    `on_sample` raises comes through once the migration was aborted.
    """
    source = guest.host
    domain = guest.domain
    with (
        settings.downtime(guest, plan.downtime_ms),
        settings.in_force(guest, plan.settings),
        following(guest.name, (source, destination)) as log,
    ):
        job = Job(_call(domain, destination, plan, guest))
        log.started = time.monotonic()
        with _under_way(job, guest, destination):
            followed = _follow(guest, job, plan, log, on_sample)
        seconds = job.ended - log.started
        stats = _final_stats(guest, domain, log) if job.succeeded else {}
        events = log.events
    words = "; ".join((job.error.words, *followed.refusals)) if job.error else ""
    outcome = Outcome(
        plan=plan,
        guest=guest.name,
        source=source.name,
        destination=destination.name,
        virsh=equivalent(guest, source, destination, plan),
        status=_status(job.error, followed),
        seconds=seconds,
        words=words,
        samples=tuple(followed.samples),
        disks=tuple(followed.disks),
        events=events,
        stats=stats,
        suspended_at_s=followed.suspended_at_s,
        qemu=followed.qemu,
    )
    if job.error is not None:
        raise _ERRORS[outcome.status](words, outcome=outcome) from job.error
    return outcome


def equivalent(guest: Guest, source: Host, destination: Host, plan: Plan) -> str:
    """The virsh command that a person can repeat."""
    words = command.virsh(
        plan,
        guest.spec.persistence,
        source_uri=source.plain_uri,
        domain=guest.name,
        endpoint=endpoint(destination, plan),
    )
    before = command.virsh_before(plan, source_uri=source.plain_uri, domain=guest.name)
    return " && ".join(command.spelled(each) for each in (before, words) if each)


def _call(domain: Domain, destination: Host, plan: Plan, guest: Guest) -> Callable[[], Any]:
    flags = command.flags(plan, guest.spec.persistence)
    where = endpoint(destination, plan)
    parameters = command.parameters(plan, where)
    at_destination = settings.definition(plan.destination_xml or domain.xml(), plan.settings)
    if at_destination is not None:
        parameters["destination_xml"] = at_destination
    if plan.control is Control.PEER_TO_PEER:
        return lambda: domain.migrate_peer_to_peer(where.uri, flags, parameters)
    raw = destination.libvirt.raw
    return lambda: domain.migrate_direct(raw, flags, parameters)


@contextmanager
def _under_way(job: Job, guest: Guest, destination: Host) -> Iterator[None]:
    """The job runs while the block does. Where that raises, the job is aborted and waited for: it
    must not go on while others put settings back and remove the guest."""
    job.start()
    try:
        yield
        job.raise_crash()
    except BaseException:
        job.stop(guest)
        raise
    finally:
        if job.succeeded:
            guest.moved(destination)


def _follow(
    guest: Guest, job: Job, plan: Plan, log: EventLog, on_sample: OnSample | None
) -> _Followed:
    """Sample the job until it is over; act on the plan's limits."""
    found = _Followed()
    domain = guest.domain
    disks = threading.Thread(target=_watch_disks, args=(guest, job, plan, log, found), daemon=True)
    disks.start()
    asked = log.started
    while not job.done.wait(max(BREATH_SECONDS, asked + SAMPLE_SECONDS - time.monotonic())):
        sent = log.memory_sent.is_set()
        asked = time.monotonic()
        stats = domain.job_stats()
        answered = time.monotonic()
        at_s = answered - log.started
        if stats.get("type"):
            sample = JobSample(at_s, stats, answered - asked)
            found.samples.append(sample)
            if sent and "downtime" in stats:
                # between the end of QEMU's job and libvirt's, its figure is the real downtime
                found.qemu["downtime"] = stats["downtime"]
            if on_sample is not None and not found.aborted and on_sample(sample):
                found.aborted = True
        if not found.aborted and at_s > plan.deadline_s:
            found.timed_out = True
        if found.timed_out or found.aborted:
            job.abort(guest)
        else:
            _act(domain, job, due(plan, at_s, stats), at_s, found, log)
    disks.join(DISK_JOIN_SECONDS)
    return found


def _watch_disks(guest: Guest, job: Job, plan: Plan, log: EventLog, found: _Followed) -> None:
    """Sample the disks that are copied, one after the other. In a thread of its own: libvirt may
    take a second to answer while it talks with QEMU, and the job is not to wait for that."""
    domain = guest.domain
    for target in itertools.cycle(_copied(guest, plan)):
        if job.done.wait(DISK_SECONDS):
            return
        progress = domain.block_job(target)
        if progress is not None:
            found.disks.append(DiskSample(time.monotonic() - log.started, target, *progress))


def _copied(guest: Guest, plan: Plan) -> tuple[str, ...]:
    if plan.copy_storage is StorageCopy.NONE:
        return ()
    return plan.migrate_disks or guest.spec.written()


def due(plan: Plan, at_s: float, stats: Mapping[str, Any]) -> list[TimeoutAction]:
    """Pure: what the plan wants done by now. Post-copy begins once memory moves: before, QEMU may
    not know that it may."""
    found = []
    if plan.timeout is not None and at_s >= plan.timeout.seconds:
        found.append(plan.timeout.action)
    if plan.postcopy_after_precopy and int(stats.get("memory_iteration", 0)) > 1:
        found.append(TimeoutAction.POSTCOPY)
    moving = int(stats.get("memory_processed", 0)) > 0
    return [action for action in found if moving or action is TimeoutAction.SUSPEND]


def _act(
    domain: Domain,
    job: Job,
    wanted: Iterable[TimeoutAction],
    at_s: float,
    found: _Followed,
    log: EventLog,
) -> None:
    """Ask libvirt for what is wanted until it does it; what it says instead is an event."""
    acts = {
        TimeoutAction.SUSPEND: domain.suspend,
        TimeoutAction.POSTCOPY: domain.start_postcopy,
    }
    for action in wanted:
        request = found.requests[action]
        if request.granted or not request.make(acts[action]):
            continue
        if request.refusal:
            log.add(domain.host, "refused", request.refusal, time.monotonic(), None)
        elif action is TimeoutAction.POSTCOPY:
            job.switches()
        else:
            found.suspended_at_s = at_s


def _final_stats(guest: Guest, source_domain: Domain, log: EventLog) -> dict[str, Any]:
    """Figures of the completed job: the destination's, which know the whole downtime. A job that
    libvirt keeps no figures of has the type 0."""
    there = guest.host.libvirt.lookup(guest.name)  # none where it was lost on the way
    for domain in (there, source_domain):
        stats = domain.completed_stats() if domain is not None else {}
        if stats.get("type"):
            return stats
    return _from_event(log)


def _from_event(log: EventLog) -> dict[str, Any]:
    for event in log.events:
        if event.name == "job-completed":
            return dict(json.loads(event.detail))
    return {}


def _status(error: StackError | None, found: _Followed) -> Status:
    if error is None:
        return Status.COMPLETED
    if found.timed_out:
        return Status.TIMED_OUT
    if found.aborted:
        return Status.ABORTED
    moved = any(int(sample.stats.get("data_processed", 0)) for sample in found.samples)
    return Status.FAILED if moved else Status.REFUSED
