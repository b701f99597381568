"""Start a migration with `migrate`, follow the job and determine the outcome.

Example:
    Limit bandwidth and downtime, and keep the outcome of a migration that does not converge::

        plan = Plan(bandwidth_mib_s=64, downtime_ms=100, deadline_s=60.0)
        try:
            outcome = migrate(guest, destination, plan)
        except MigrationTimedOut as error:
            outcome = error.outcome
        print(outcome.virsh, outcome.status, outcome.seconds)
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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
    TimedOut,
)
from migqual.hosts import domain_job, host_names, libvirt_log, qemu_log
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.entities import format_uri_host
from migqual.migration import qemu_parameters
from migqual.migration.job import Job
from migqual.migration.job_sampler import OnSample, follow_job
from migqual.migration.progress import MigrationProgress
from migqual.model import libvirt_call
from migqual.model.job_stats import JobStats
from migqual.model.libvirt_call import DestinationEndpoint
from migqual.model.migration_phase import has_started_to_send
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Control, Plan
from migqual.observe.event_log import EventLog, collect_events

_ERROR_TYPES: Mapping[MigrationStatus, type[MigrationError]] = {
    MigrationStatus.REFUSED: MigrationRefused,
    MigrationStatus.FAILED: MigrationFailed,
    MigrationStatus.TIMED_OUT: MigrationTimedOut,
    MigrationStatus.ABORTED: MigrationAborted,
}

MAX_LOG_MESSAGES = 2
# Messages with which libvirt reports that the peer closed the connection, without a reason.
_CLOSED_CONNECTION = re.compile(
    "End of file while reading data|Cannot recv data|client socket is closed|Connection reset by"
)

# Called if an error that is not a `MigrationError` ends the migration. The argument is the outcome
# so far.
OnInterrupted = Callable[[Outcome], None]


def build_endpoint(destination: Host, plan: Plan) -> DestinationEndpoint:
    """Build the libvirt URI and the migration URI of the destination.

    The libvirt URI depends on the setting `control` of the plan (peer-to-peer or direct).
    """
    entry = destination.entry
    uri = entry.peer_uri if plan.control is Control.PEER_TO_PEER else destination.virsh_uri
    return DestinationEndpoint(uri, f"tcp://{format_uri_host(entry.migration_endpoint)}")


def migrate(
    guest: Guest,
    destination: Host,
    plan: Plan,
    *,
    on_sample: OnSample | None = None,
    on_interrupted: OnInterrupted | None = None,
) -> Outcome:
    """Migrate the guest from the current host to `destination`.

    The call is virDomainMigrate3 (managed direct) or virDomainMigrateToURI3 (peer-to-peer). The
    function returns when the guest is at the destination, running or paused as the plan states.
    The function then sets `guest.host` to the destination.

    Args:
        guest: The guest to migrate.
        destination: The host to migrate to.
        plan: Options and limits of the migration.
        on_sample: Called with every job sample; can abort the migration (see `OnSample`).
        on_interrupted: Called if an error that is not a `MigrationError` ends the migration. The
            argument is the outcome so far.

    Returns:
        The outcome of the completed migration.

    Raises:
        MigrationError: The migration did not complete. The class of the error states the reason:
            `MigrationRefused`, `MigrationFailed`, `MigrationTimedOut`, `MigrationAborted` (by
            `on_sample`) or `MigrationStuck`. The error holds the stack's message and the outcome.
        InconclusiveError: libvirt refuses to abort the migration.

    Example:
        Limit the bandwidth, and abort a migration that does not converge in 60 s::

            migrate(guest, destination, Plan(bandwidth_mib_s=64, deadline_s=60.0))
    """
    source, domain = guest.host, guest.domain
    with (
        qemu_parameters.limit_downtime(guest, plan.downtime_ms),
        qemu_parameters.apply_settings(guest, plan.qemu_parameters),
        collect_events(guest.name, (source, destination)) as event_log,
    ):
        job = Job(_build_migrate_call(guest, destination, plan))
        virsh = render_virsh_command(guest, source, destination, plan)
        event_log.started_at = time.monotonic()
        progress = MigrationProgress(guest, domain, source, destination, plan, virsh, event_log)
        with _report_interruption(progress, on_interrupted), _run_job(job, guest, destination):
            follow_job(progress, job, on_sample)
        stats = _read_final_stats(guest, domain, event_log) if job.has_succeeded else JobStats()
    return _conclude_migration(job, progress, stats)


def render_virsh_command(guest: Guest, source: Host, destination: Host, plan: Plan) -> str:
    """Render the virsh command with which a person can repeat the migration."""
    migrate_argv = libvirt_call.build_virsh_migrate(
        plan,
        guest.spec.persistence,
        source_uri=source.virsh_uri,
        domain=guest.name,
        endpoint=build_endpoint(destination, plan),
        has_other_names=source.names != destination.names,
    )
    setup_argv = libvirt_call.build_virsh_monitor_command(
        plan, source_uri=source.virsh_uri, domain=guest.name
    )
    return " && ".join(
        libvirt_call.format_shell_command(argv) for argv in (setup_argv, migrate_argv) if argv
    )


def _build_migrate_call(guest: Guest, destination: Host, plan: Plan) -> Callable[[], Any]:
    flags = libvirt_call.build_migrate_flags(plan, guest.spec.persistence)
    endpoint = build_endpoint(destination, plan)
    parameters = libvirt_call.build_typed_parameters(plan, endpoint)
    parameters |= build_destination_definitions(guest, destination, plan)
    migrating_domain = guest.host.migration_connection.find_domain(guest.name)
    if migrating_domain is None:
        raise HostError(guest.host.name, f"guest {guest.name} is no longer on the host")
    if plan.control is Control.PEER_TO_PEER:
        return lambda: domain_job.migrate_peer_to_peer(
            migrating_domain, endpoint.libvirt_uri, flags, parameters
        )
    destination_connection = destination.migration_connection.raw
    return lambda: domain_job.migrate_direct(
        migrating_domain, destination_connection, flags, parameters
    )


def build_destination_definitions(guest: Guest, destination: Host, plan: Plan) -> dict[str, str]:
    """Build the domain XML for the destination, if different from the XML of the source.

    The names of the bridge and of QEMU can differ, and a plan can set parameters of QEMU.

    Returns:
        The live XML as `destination_xml` and the stored XML as `persistent_xml`. An XML equal to
        the XML of the source is left out.
    """
    domain, source_names, destination_names = guest.domain, guest.host.names, destination.names
    source_xml = domain.read_migratable_xml()
    destination_xml = host_names.translate_domain_xml(
        plan.destination_xml or source_xml, source_names, destination_names
    )
    destination_xml = (
        qemu_parameters.set_parameters_in_xml(destination_xml, plan.qemu_parameters)
        or destination_xml
    )
    definitions = {}
    if destination_xml != source_xml:
        definitions["destination_xml"] = destination_xml
    if libvirt_call.moves_definition(plan, guest.spec.persistence):
        inactive_xml = domain.read_inactive_xml()
        persistent_xml = host_names.translate_domain_xml(
            inactive_xml, source_names, destination_names
        )
        if persistent_xml != inactive_xml:
            definitions["persistent_xml"] = persistent_xml
    return definitions


@contextmanager
def _report_interruption(
    progress: MigrationProgress, on_interrupted: OnInterrupted | None
) -> Iterator[None]:
    """Build an outcome from the data collected so far when an error ends the block.

    A `MigrationStuck` error gets the outcome as an attribute. For any other error,
    `on_interrupted` is called with the outcome.
    """
    try:
        yield
    except MigrationStuck as stuck_error:
        stuck_error.outcome = progress.build_outcome(MigrationStatus.STUCK, stuck_error.message)
        raise
    except BaseException as error:
        if on_interrupted is not None:
            on_interrupted(progress.build_outcome(MigrationStatus.INTERRUPTED, str(error)))
        raise


@contextmanager
def _run_job(job: Job, guest: Guest, destination: Host) -> Iterator[None]:
    """Start the job. If the block raises an error, abort the job and wait for the end of the job.

    Without the wait, the job could still run while other code removes the guest.
    """
    job.start()
    try:
        yield
        job.raise_unexpected_error()
    except BaseException:
        job.abort_and_wait(guest)
        raise
    finally:
        if job.has_succeeded:
            guest.set_host(destination)


def _conclude_migration(job: Job, progress: MigrationProgress, stats: JobStats) -> Outcome:
    """Build the outcome of an ended migration; raise an error unless the migration completed."""
    message = _describe_error(job.error, progress) if job.error else ""
    outcome = progress.build_outcome(
        _determine_status(job.error, progress), message, ended_at=job.ended_at, stats=stats
    )
    if job.error is not None:
        if outcome.status is MigrationStatus.REFUSED:
            _raise_if_ssh_client_is_missing(progress)
        raise _ERROR_TYPES[outcome.status](message, outcome=outcome) from job.error
    return outcome


def _describe_error(error: StackError, progress: MigrationProgress) -> str:
    """Describe why a migration failed.

    If libvirt knows only that the peer closed the connection, the description contains the errors
    of libvirt at the source, and the messages of QEMU at the destination.
    """
    reasons = [error.stack_message, *progress.refusals]
    if _CLOSED_CONNECTION.search(error.stack_message):
        source, destination = progress.source, progress.destination
        name, seconds = progress.guest.name, time.monotonic() - progress.event_log.started_at + 1
        with suppress(HostError, TimedOut):
            errors = libvirt_log.read_recent_errors(source, name, seconds)
            reasons += [f"{source.name}: {text}" for text in errors[-MAX_LOG_MESSAGES:]]
        with suppress(HostError, TimedOut):
            messages = qemu_log.read_recent_messages(destination, name, seconds)
            reasons += [f"{destination.name}: {text}" for text in messages[-MAX_LOG_MESSAGES:]]
    return "; ".join(reasons)


def _raise_if_ssh_client_is_missing(progress: MigrationProgress) -> None:
    """Raise an error when a peer-to-peer migration over SSH needs `ssh` and the source has none.

    Raises:
        HostError: The source has no program `ssh`.
    """
    source, plan = progress.source, progress.plan
    uri = build_endpoint(progress.destination, plan).libvirt_uri
    if plan.control is not Control.PEER_TO_PEER or not uri.startswith("qemu+ssh:"):
        return
    if source.shell.run_unchecked("sh", "-c", "command -v ssh").status != 0:
        raise HostError(
            source.name,
            f"the host has no program ssh, which libvirt needs to connect to {uri}",
            remedy=f"install an SSH client on {source.name}",
        )


def _read_final_stats(guest: Guest, source_domain: Domain, event_log: EventLog) -> JobStats:
    """Read the statistics of the completed migration from libvirt.

    Only the destination knows the whole downtime, so the function asks the destination first, then
    the source. If both hosts have no statistics (a job of type 0), the function reads the event
    log.
    """
    destination_domain = guest.host.libvirt.find_domain(
        guest.name
    )  # None if the guest was lost during the migration
    for domain in (destination_domain, source_domain):
        if domain is not None and (stats := domain_job.query_completed_job_stats(domain)).is_active:
            return stats
    return _find_stats_in_events(event_log)


def _find_stats_in_events(event_log: EventLog) -> JobStats:
    for event in event_log.events:
        if event.name == "job-completed":
            return JobStats(json.loads(event.detail))
    return JobStats()


def _determine_status(error: StackError | None, progress: MigrationProgress) -> MigrationStatus:
    if error is None:
        return MigrationStatus.COMPLETED
    if progress.timed_out:
        return MigrationStatus.TIMED_OUT
    if progress.aborted:
        return MigrationStatus.ABORTED
    return MigrationStatus.FAILED if _may_have_sent_data(progress) else MigrationStatus.REFUSED


def _may_have_sent_data(progress: MigrationProgress) -> bool:
    """Return True if guest data moved, or if this is not certain.

    A short transfer can begin and end between two job samples. So the function also checks the
    events of QEMU. If events of the source may be missing, the result is True.
    """
    source, event_log = progress.source.name, progress.event_log
    return (
        any(sample.stats.data_processed_bytes for sample in progress.samples)
        or has_started_to_send(event_log.events, source)
        or not event_log.is_complete(source)
    )
