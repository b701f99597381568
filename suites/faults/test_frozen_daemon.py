"""LM-RES-05, LM-RES-06: libvirt's daemon hangs during a migration."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordReservation, RecordStackMessage
from migqual.errors import MigrationError, UnsupportedError
from migqual.faults.daemon_faults import freeze_daemon
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.observe.integrity import find_integrity_violations
from migqual.testbed.held_migration import HeldMigration, hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.copies import list_running_hosts, wait_for_single_copy
from suites.support.fault_cases import require_guest_at_source

FREEZE_S = 5.0
# QEMU locks the image of a disk, so that a second copy of the guest cannot run.
GUEST_SPEC = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY),))


@pytest.mark.requirement("LM-RES-05")
@pytest.mark.beyond_requirement
def test_short_freeze_of_the_destination_daemon(testbed: Testbed) -> None:
    """
    A migration waits while libvirt's daemon at the destination hangs for some seconds.

    Preconditions: the migration is in the first iteration over guest memory.
    Expected: the migration completes after the daemon continues, and the guest is intact.
    """
    freeze_for_a_while(testbed, lambda held: held.destination)


@pytest.mark.requirement("LM-RES-06")
@pytest.mark.beyond_requirement
def test_short_freeze_of_the_source_daemon(testbed: Testbed) -> None:
    """
    A migration waits while libvirt's daemon at the source hangs for some seconds.

    Preconditions: the migration is in the first iteration over guest memory.
    Expected: the migration completes after the daemon continues, and the guest is intact.
    """
    freeze_for_a_while(testbed, lambda held: held.source)


def freeze_for_a_while(testbed: Testbed, choose_host: Callable[[HeldMigration], Host]) -> None:
    """Freeze libvirt's daemon of a host for `FREEZE_S` seconds during a migration.

    The migration must complete after the daemon continues.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        # a frozen daemon at the source accepts no new limits, so the limits are lifted afterwards
        with held.inject("frozen daemon", freeze_daemon(journal, choose_host(held))):
            held.wait(FREEZE_S)
        held.release()
        migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert migration.error is None
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-RES-05")
@pytest.mark.beyond_requirement
@pytest.mark.slow
def test_guest_survives_a_destination_daemon_that_hangs(
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
    record_reservation: RecordReservation,
) -> None:
    """
    The guest continues at the source when libvirt's daemon at the destination hangs.

    Preconditions: the migration is in the first iteration over guest memory. The daemon at the
    destination is frozen until the source gives up. The destination sees QEMU's lock on the image
    of the disk. Without this lock, the test is unsupported.
    Expected: the migration fails, and the guest runs at the source with its memory and its disk
    intact. After the freeze, the daemon removes the incomplete guest at the destination, and a
    second migration succeeds. Some versions of libvirt start a second copy of the guest at the
    destination, and QEMU's lock ends this copy. In this case the test passes without a second
    migration, and the report has a reservation (a note that does not fail the test).
    """
    guest = testbed.make_guest(GUEST_SPEC)
    require_visible_lock(testbed, guest)
    plan = Plan(safety=testbed.choose_safety(GUEST_SPEC))
    journal = testbed.probe_context.journal

    with hold_migration(testbed, guest, plan, MigrationPhase.FIRST_ITERATION) as held:
        with held.inject("frozen daemon", freeze_daemon(journal, held.destination)):
            held.release()
            held.wait_for_job_end()
        migration = held.wait_for_end()

    record_figures(
        "frozen destination daemon",
        {"error": migration.outcome.message, "seconds": round(migration.outcome.seconds, 1)},
    )
    assert isinstance(migration.error, MigrationError)
    record_stack_message("destination-lost", migration.outcome.message)
    has_second_copy = any(
        event.host == testbed.destination.name and event.name == "RESUME"
        for event in held.event_log.events
    )
    if not has_second_copy:
        require_guest_at_source(testbed, guest, migration)
        testbed.migrate(guest, plan)
        return
    record_reservation("second-copy", "; ".join(migration.violations) or "for a moment")
    testbed.detach_observers(guest)
    wait_for_single_copy(guest, (testbed.destination,), may_stay=False)
    assert list_running_hosts(guest, testbed.hosts) == [testbed.source.name]
    assert find_integrity_violations(guest) == []


def require_visible_lock(testbed: Testbed, guest: Guest) -> None:
    """Require that the destination sees the lock of the guest's QEMU on the image of the disk.

    Raises:
        UnsupportedError: The destination does not see the lock.
    """
    path = guest.volumes[0].path
    if not testbed.probe_context.is_written_by_qemu(testbed.destination, path):
        raise UnsupportedError(
            f"{testbed.destination.name} does not see the lock of QEMU on {path}, so nothing "
            "protects the disk from a second copy of the guest"
        )
