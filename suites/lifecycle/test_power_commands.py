"""LM-RES-07: shutdown, reboot, crash and restore of a guest that migrates."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.operator_commands import RecordCommands
from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.inventory.stores import DirectoryStore, StoreKind
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.outcome import MigrationStatus
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.copies import wait_for_single_copy
from suites.support.operator_commands import run_commands_during_migration

EVENT_SECONDS = 20.0


class PowerChange(StrEnum):
    """A power-off, reboot or kernel panic that a shell command in the guest causes.

    The value of each member is the shell command.
    """

    POWER_OFF = "poweroff -f"
    REBOOT = "reboot -f"
    PANIC = "echo c > /proc/sysrq-trigger"


# QEMU's event at the source that shows the change
EVENTS = {
    PowerChange.POWER_OFF: {"SHUTDOWN"},
    PowerChange.REBOOT: {"RESET", "SHUTDOWN"},
    PowerChange.PANIC: {"GUEST_PANICKED", "RESET", "SHUTDOWN"},
}


@pytest.mark.requirement("LM-RES-07")
@pytest.mark.parametrize("change", list(PowerChange), ids=lambda change: change.name.lower())
def test_power_change_in_the_guest_leaves_one_copy_at_most(
    change: PowerChange, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A guest that powers off, reboots or crashes during its migration never runs twice.

    Preconditions: the migration is in the first iteration over guest memory. Then the guest powers
    off, reboots or panics.
    Expected: the migration completes or fails with an error. At most one host runs the guest, and
    a host that does not run the guest has no QEMU process of it.
    """
    guest = testbed.make_guest(GuestSpec())
    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once(change.name.lower(), lambda: run_without_reply(guest, change.value))
        has_changed = lambda: any(  # noqa: E731
            event.host == testbed.source.name and event.name in EVENTS[change]
            for event in held.event_log.events
        )
        Deadline(EVENT_SECONDS).wait_for(f"an event of {change.name}", has_changed)
        held.release()
        migration = held.wait_for_end()
    testbed.detach_observers(guest)  # the guest has rebooted, or is off

    states = guest.query_states_by_host(testbed.hosts)
    record_figures(
        f"{change.name.lower()} in the guest during a migration",
        {
            "migration": f"{migration.outcome.status} {migration.outcome.message}".strip(),
            **{f"state on {name}": str(state) for name, state in states.items()},
        },
    )
    assert [text for text in migration.violations if text.startswith("split brain")] == []
    assert migration.outcome.status in {MigrationStatus.COMPLETED, MigrationStatus.FAILED}
    wait_for_single_copy(guest, testbed.hosts, may_stay=True)


@pytest.mark.requirement("LM-RES-07")
def test_restore_during_the_migration_is_refused(
    testbed: Testbed, record_commands: RecordCommands
) -> None:
    """
    libvirt starts no second copy of a migrating guest from a saved state.

    Preconditions: the guest was saved to a file in a shared directory, and restored. The migration
    is in the first iteration over guest memory.
    Expected: source and destination refuse to restore the guest once more from the file. The
    migration completes, and the guest is intact.
    """
    guest = testbed.make_guest(GuestSpec())
    with saved_state(testbed, guest) as path:
        restore = {"restore": ("restore", str(path))}
        commanded = run_commands_during_migration(
            testbed, guest, Plan(), at_source=restore, at_destination=restore
        )

    record_commands(commanded.commands)
    raise_violations(commanded.migration.violations)
    assert commanded.migration.error is None
    assert commanded.accepted_commands == []


def run_without_reply(guest: Guest, script: str) -> None:
    """Start a shell script in the guest, and do not wait for the result of the script.

    The script powers off, reboots or crashes the guest, so the guest cannot report a result.
    """
    guest.wait_for_agent(Deadline(EVENT_SECONDS))
    guest.domain.run_agent_command("guest-exec", path="/bin/sh", arg=["-c", f"sleep 0.2; {script}"])


@contextmanager
def saved_state(testbed: Testbed, guest: Guest) -> Iterator[PurePosixPath]:
    """Save the guest to a file in the shared directory, restore the guest, and yield the path."""
    store = testbed.inventory.find_store(StoreKind.DIRECTORY)
    assert isinstance(store, DirectoryStore)
    path = store.path / f"{guest.name}-saved"
    host, journal = guest.host, testbed.probe_context.journal
    entry = journal.record(host.name, "file", str(path), [("rm", "-f", "--", str(path))])
    try:
        guest.domain.save(path)
        host.libvirt.restore_domain(path)
        yield path
    finally:
        host.shell.run_unchecked("rm", "-f", "--", path)
        journal.record_removal(entry)
