"""Resume a migration that lost its connection in post-copy.

QEMU calls this a recovery. After the loss of the connection, each vCPU of the guest stops when it
needs memory that is still at the source. Neither host has the whole memory, so only a recovery
saves the guest.
"""

from dataclasses import replace

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, MigrationError, TimedOut
from migqual.migration.migrate import migrate
from migqual.model.migration_phase import find_migration_status
from migqual.model.outcome import Outcome
from migqual.testbed.held_migration import HeldMigration
from migqual.testbed.migration_hold import FREE_BANDWIDTH_MIB_S

PAUSE_SECONDS = 40.0
_PAUSED_STATUS = "postcopy-paused"


def wait_for_postcopy_pause(held: HeldMigration) -> None:
    """Wait until libvirt reports an error, and QEMU at both ends waits for a recovery.

    Raises:
        InconclusiveError: libvirt does not report an error, or QEMU at one end does not notice the
            loss of the connection. A QEMU whose main thread needs memory that is still at the
            source does not answer, and then libvirt does not answer either.
    """
    held.wait_for_job_end(PAUSE_SECONDS)
    wait_for_status(held, _PAUSED_STATUS)


def is_paused(held: HeldMigration) -> bool:
    """Return whether QEMU at one end of the migration waits for a recovery."""
    events, hosts = held.event_log.events, (held.source, held.destination)
    return any(find_migration_status(events, host.name) == _PAUSED_STATUS for host in hosts)


def wait_for_status(held: HeldMigration, status: str) -> None:
    """Wait until QEMU at both ends of the migration reports the status, for example `completed`.

    Raises:
        InconclusiveError: QEMU at an end does not report the status within 40 s.
    """

    def has_status() -> bool:
        events = held.event_log.events
        hosts = (held.source, held.destination)
        return all(find_migration_status(events, host.name) == status for host in hosts)

    try:
        Deadline(PAUSE_SECONDS).wait_for(f"QEMU's status {status} at both ends", has_status)
    except TimedOut as error:
        raise InconclusiveError(error.message) from error


def resume_postcopy(held: HeldMigration, bandwidth_mib_s: int = FREE_BANDWIDTH_MIB_S) -> Outcome:
    """Resume the migration with the flag VIR_MIGRATE_POSTCOPY_RESUME, and wait for the end.

    Call the function in a block of `HeldMigration.delay_checks`.

    Args:
        held: A migration in post-copy that lost its connection.
        bandwidth_mib_s: Bandwidth of the rest of post-copy in MiB/s.

    Returns:
        The outcome of the call that resumed the migration.

    Raises:
        MigrationError: libvirt or QEMU refused to resume the migration, or the connection was lost
            again.
    """
    plan = replace(
        held.plan,
        postcopy=True,
        postcopy_resume=True,
        postcopy_after_precopy=False,
        downtime_ms=None,
        postcopy_bandwidth_mib_s=bandwidth_mib_s,
    )
    try:
        outcome = migrate(held.guest, held.destination, plan)
    except MigrationError as error:
        held.testbed.handle_outcome(error.outcome)
        raise
    held.testbed.handle_outcome(outcome)
    return outcome
