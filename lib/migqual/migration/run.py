"""`migrate`: start a migration, follow its job, say how it ended."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from migqual.errors import (
    HostError,
    MigrationAborted,
    MigrationError,
    MigrationFailed,
    MigrationRefused,
    MigrationStuck,
    MigrationTimedOut,
    StackError,
)
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration import settings
from migqual.migration.course import Course
from migqual.migration.follow import OnSample, follow
from migqual.migration.job import Job
from migqual.model import command
from migqual.model.command import Endpoint
from migqual.model.inventory import bracketed
from migqual.model.outcome import Outcome, Status
from migqual.model.plan import Control, Plan
from migqual.observe.event_log import EventLog, following

_ERRORS: Mapping[Status, type[MigrationError]] = {
    Status.REFUSED: MigrationRefused,
    Status.FAILED: MigrationFailed,
    Status.TIMED_OUT: MigrationTimedOut,
    Status.ABORTED: MigrationAborted,
}

# Called with what was seen of a migration that something beside it broke off.
OnBrokenOff = Callable[[Outcome], None]


def endpoint(destination: Host, plan: Plan) -> Endpoint:
    """How the destination is reached under `plan`."""
    entry = destination.entry
    uri = entry.peer_uri if plan.control is Control.PEER_TO_PEER else destination.plain_uri
    return Endpoint(uri, f"tcp://{bracketed(entry.migration_address or entry.address)}")


def migrate(
    guest: Guest,
    destination: Host,
    plan: Plan,
    *,
    on_sample: OnSample | None = None,
    on_broken_off: OnBrokenOff | None = None,
) -> Outcome:
    """Migrate `guest` from where it runs to `destination`.

    Follows virDomainMigrate3 (managed direct) or virDomainMigrateToURI3 (peer-to-peer). Returns
    when the guest is at the destination, running or paused as planned; `guest.host` says so. Raises
    `MigrationRefused`, `MigrationFailed`, `MigrationTimedOut`, `MigrationAborted` or, when libvirt
    takes the aborts and nothing comes of them, `MigrationStuck`, with the stack's words and the
    `Outcome` so far; `InconclusiveError` when libvirt refuses to abort it. Whatever `on_sample`
    raises comes through once the migration was aborted. Where anything but a `MigrationError` is
    raised, `on_broken_off` gets the outcome so far.
    """
    source = guest.host
    domain = guest.domain
    with (
        settings.downtime(guest, plan.downtime_ms),
        settings.in_force(guest, plan.settings),
        following(guest.name, (source, destination)) as log,
    ):
        job = Job(_call(domain, destination, plan, guest))
        virsh = equivalent(guest, source, destination, plan)
        log.started = time.monotonic()
        course = Course(guest, domain, source, destination, plan, virsh, log)
        try:
            with _under_way(job, guest, destination):
                follow(course, job, on_sample)
        except MigrationStuck as stuck:
            stuck.outcome = course.outcome(Status.STUCK, stuck.words)
            raise
        except BaseException as error:
            if on_broken_off is not None:
                on_broken_off(course.outcome(Status.BROKEN_OFF, str(error)))
            raise
        stats = _final_stats(guest, domain, log) if job.succeeded else {}
    words = "; ".join((job.error.words, *course.refusals)) if job.error else ""
    outcome = course.outcome(_status(job.error, course), words, ended=job.ended, stats=stats)
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
    moving = guest.host.migrations.lookup(guest.name)
    if moving is None:
        raise HostError(guest.host.name, f"{guest.name} is not there any more")
    if plan.control is Control.PEER_TO_PEER:
        return lambda: moving.migrate_peer_to_peer(where.uri, flags, parameters)
    raw = destination.migrations.raw
    return lambda: moving.migrate_direct(raw, flags, parameters)


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


def _status(error: StackError | None, course: Course) -> Status:
    if error is None:
        return Status.COMPLETED
    if course.timed_out:
        return Status.TIMED_OUT
    if course.aborted:
        return Status.ABORTED
    moved = any(int(sample.stats.get("data_processed", 0)) for sample in course.samples)
    return Status.FAILED if moved else Status.REFUSED
