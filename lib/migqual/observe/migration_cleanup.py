"""Clean-up: a migration without success must also be over for the source's QEMU."""

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.guest import Guest
from migqual.model.outcome import MigrationStatus, Outcome

CLEANUP_SECONDS = 30.0
POLL_SECONDS = 0.1
NOT_MIGRATED_STATUSES = {
    MigrationStatus.REFUSED,
    MigrationStatus.FAILED,
    MigrationStatus.TIMED_OUT,
    MigrationStatus.ABORTED,
}


def find_cleanup_violations(guest: Guest, outcome: Outcome) -> list[str]:
    """Check whether QEMU still holds a migration reported as ended by libvirt.

    QEMU lists the migration among the connections for QMP `query-yank` (since 6.0) until the
    migration thread has ended. A thread waiting for dead sender threads never ends, and QEMU
    accepts no other migration. A failed post-copy is kept on purpose: the migration can be
    resumed.

    Args:
        guest: The guest, still at the source.
        outcome: The outcome of the migration.

    Returns:
        A message when QEMU still holds the migration after 30 s or does not answer; else empty.
    """
    if outcome.status not in NOT_MIGRATED_STATUSES or outcome.has_entered_postcopy:
        return []
    monitor = guest.domain.run_qmp_command

    def has_ended_migration() -> bool:
        return all(yank_instance["type"] != "migration" for yank_instance in monitor("query-yank"))

    try:
        if "query-yank" in {command["name"] for command in monitor("query-commands")}:
            Deadline(CLEANUP_SECONDS).wait_for(
                "an end", has_ended_migration, interval_s=POLL_SECONDS
            )
    except HostError as error:
        return [f"QEMU of {guest.name} does not report the end of the migration: {error.message}"]
    except TimedOut:
        message = (
            f"QEMU at the source still lists the migration ({outcome.status}) "
            f"{CLEANUP_SECONDS:g} s after its end (QMP query-yank): the migration thread hangs, "
            f"and {guest.name} cannot be migrated again"
        )
        return [message]
    return []
