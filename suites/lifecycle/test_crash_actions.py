"""LM-RES-07: the kernel of a guest crashes during a migration, with each action `on_crash`."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import CrashAction, GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed
from suites.support.copies import list_running_hosts, start_again, wait_for_single_copy

EVENT_SECONDS = 20.0
DUMP_FOLDER = "/var/lib/libvirt/qemu/dump"
PANIC_SCRIPT = "sleep 0.2; echo c > /proc/sysrq-trigger"


@pytest.mark.requirement("LM-RES-07")
@pytest.mark.beyond_requirement
@pytest.mark.guest_architecture("x86_64")
@pytest.mark.parametrize(
    "action",
    [
        pytest.param(action, marks=[] if action is CrashAction.DESTROY else [pytest.mark.slow])
        for action in CrashAction
    ],
    ids=str,
)
def test_crash_during_the_migration_leaves_one_copy_at_most(
    action: CrashAction, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A guest whose kernel crashes during the migration never runs twice.

    Preconditions: the guest has a panic device and an action `on_crash`. The migration is in the
    first iteration over guest memory. Then the kernel of the guest crashes.
    Expected: QEMU reports the crash. The migration completes or fails. At most one host has a QEMU
    process of the guest. Afterwards the guest starts again from its definition.
    """
    guest = testbed.make_guest(GuestSpec(on_crash=action))

    with (
        removed_dumps(testbed, guest),
        hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held,
    ):
        held.inject_once("crash of the guest", lambda: crash_kernel(guest))
        Deadline(EVENT_SECONDS).wait_for(
            "QEMU's event GUEST_PANICKED",
            lambda: any(event.name == "GUEST_PANICKED" for event in held.event_log.events),
        )
        held.release()
        migration = held.wait_for_end()
        testbed.detach_observers(guest)  # the guest has crashed, as expected
        states = guest.query_states_by_host(testbed.hosts)
        assert [text for text in migration.violations if text.startswith("split brain")] == []
        wait_for_single_copy(guest, testbed.hosts, may_stay=True)
        assert len(list_running_hosts(guest, testbed.hosts)) <= 1
        start_again(testbed, guest)

    record_figures(
        f"crash with on_crash={action}",
        {
            "migration": f"{migration.outcome.status} {migration.outcome.message}".strip(),
            **{f"state on {name}": str(state) for name, state in states.items()},
        },
    )


def crash_kernel(guest: Guest) -> None:
    """Crash the kernel of the guest, and do not wait for a reply."""
    guest.wait_for_agent(Deadline(EVENT_SECONDS))
    guest.domain.run_agent_command("guest-exec", path="/bin/sh", arg=["-c", PANIC_SCRIPT])


@contextmanager
def removed_dumps(testbed: Testbed, guest: Guest) -> Iterator[None]:
    """Remove the core dumps of the guest, which libvirt writes after a crash, from both hosts."""
    journal = testbed.probe_context.journal
    command = ("sh", "-c", 'rm -f -- "$1"/*"$2"*', "sh", DUMP_FOLDER, guest.name)
    entries = [
        journal.record(host.name, "file", f"{DUMP_FOLDER}/*{guest.name}*", [command])
        for host in testbed.hosts
    ]
    try:
        yield
    finally:
        for host, entry in zip(testbed.hosts, entries, strict=True):
            host.shell.run(*command)
            journal.record_removal(entry)
