"""LM-RES-06: the source fails during a migration."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.deadline import Deadline
from migqual.errors import MigrationError
from migqual.faults.daemon_faults import kill_daemon
from migqual.faults.power_faults import power_off
from migqual.faults.qemu_faults import kill_qemu
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed
from suites.support import fault_cases
from suites.support.copies import wait_for_single_copy
from suites.support.fault_cases import (
    POWER_TEST_SECONDS,
    FaultCase,
    build_case_parameters,
    require_guest_at_source,
)

BOOT_SECONDS = 60.0
POWER_CLEANUP_SECONDS = 90.0  # libvirt waits 30 s for a silent peer
CASES = (fault_cases.FIRST_ITERATION, fault_cases.SWITCH_OVER)
SLOW_CASES = (fault_cases.LATER_ITERATION,)


@pytest.mark.requirement("LM-RES-06")
@pytest.mark.parametrize("case", build_case_parameters(CASES, SLOW_CASES), ids=str)
def test_no_copy_stays_after_the_end_of_the_source_qemu(
    case: FaultCase,
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    A guest whose QEMU at the source is killed runs nowhere, and no incomplete copy stays.

    Preconditions: the migration is in the phase of the case.
    Expected: the migration fails with an error. The guest runs on neither host, and the
    destination has no QEMU process and no domain of the guest. Afterwards the test can start the
    guest at the source from its definition.
    """
    guest = case.make_guest(testbed)

    with hold_migration(testbed, guest, case.plan, case.phase) as held:
        held.inject_once("QEMU at the source killed", lambda: kill_qemu(testbed.source, guest))
        held.release()
        migration = held.wait_for_end()
    testbed.detach_observers(guest)  # the guest is lost, as expected

    record_figures(f"source QEMU killed {case}", {"error": migration.outcome.message})
    assert isinstance(migration.error, MigrationError)
    record_stack_message("source-lost", migration.outcome.message)
    assert [text for text in migration.violations if text.startswith("split brain")] == []
    wait_for_single_copy(guest, testbed.hosts, may_stay=False)
    guest.domain.start()
    guest.wait_for_agent(Deadline(BOOT_SECONDS))


@pytest.mark.requirement("LM-RES-06")
def test_guest_survives_the_end_of_the_source_daemon(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    The guest runs on exactly one host after libvirt's daemon at the source is killed.

    Preconditions: the migration is in the first iteration over guest memory.
    Expected: the migration fails, and the new daemon leaves the guest running at the source with
    its memory intact. Nothing is left at the destination, and the same migration succeeds
    afterwards.
    """
    guest = testbed.make_guest(GuestSpec())

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once(
            "libvirt's daemon at the source killed", lambda: kill_daemon(testbed.source)
        )
        migration = held.wait_for_end()

    record_figures("source daemon killed", {"error": migration.outcome.message})
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("source-lost", migration.outcome.message)

    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-06")
@pytest.mark.slow
@pytest.mark.timeout(POWER_TEST_SECONDS)
def test_no_copy_stays_after_a_power_failure_of_the_source(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A guest whose source loses power runs nowhere, and no incomplete copy stays.

    Preconditions: the migration is in the first iteration over guest memory. The source is
    switched off at once, and sends no packet that ends its connections.
    Expected: the destination removes the incomplete copy by itself, while the source is off.
    Afterwards the test can start the guest at the source from its definition.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject("power failure of the source", power_off(journal, held.source, guest)):
            wait_for_single_copy(
                guest,
                (testbed.destination,),
                may_stay=False,
                seconds=POWER_CLEANUP_SECONDS,
            )
        migration = held.wait_for_end()
    testbed.detach_observers(guest)  # the guest is lost, as expected

    assert isinstance(migration.error, MigrationError)
    record_stack_message("source-lost", migration.outcome.message)
    wait_for_single_copy(guest, testbed.hosts, may_stay=False)
    guest.domain.start()
    guest.wait_for_agent(Deadline(BOOT_SECONDS))
