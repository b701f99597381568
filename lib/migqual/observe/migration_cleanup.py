"""Check that QEMU at the source ends a migration that libvirt reports as unsuccessful."""

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
    """Check that QEMU ends an unsuccessful migration within 30 s after libvirt reported the end.

    QMP `query-yank` (QEMU 6.0 and later) lists the migration until QEMU's migration thread has
    ended. If this thread hangs, QEMU accepts no other migration. The function does not check a
    migration that switched to post-copy, because QEMU keeps such a migration for a resume.

    Args:
        guest: The guest, still at the source.
        outcome: The outcome of the migration.

    Returns:
        A message if QEMU does not answer, or if QEMU still lists the migration after 30 s.
    """
    if outcome.status not in NOT_MIGRATED_STATUSES or outcome.has_entered_postcopy:
        return []
    monitor = guest.domain.run_qmp_command

    def has_ended_migration() -> bool:
        return all(yank_instance["type"] != "migration" for yank_instance in monitor("query-yank"))

    try:
        if "query-yank" in {command["name"] for command in monitor("query-commands")}:
            Deadline(CLEANUP_SECONDS).wait_for(
                "the end of the migration in QEMU", has_ended_migration, interval_s=POLL_SECONDS
            )
    except HostError as error:
        return [f"QEMU of {guest.name} does not answer after the migration: {error.message}"]
    except TimedOut:
        message = (
            f"QMP query-yank of {guest.name} on {guest.host.name} still lists the migration "
            f"({outcome.status}) {CLEANUP_SECONDS:g} s after libvirt reported the end. QEMU's "
            f"migration thread hangs, and {guest.name} cannot be migrated again"
        )
        return [message]
    return []
