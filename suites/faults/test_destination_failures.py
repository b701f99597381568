"""LM-RES-05: the destination fails during a migration."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.faults.daemon_faults import kill_daemon
from migqual.faults.power_faults import power_off
from migqual.faults.qemu_faults import kill_qemu
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed
from suites.support import fault_cases
from suites.support.fault_cases import (
    POWER_TEST_SECONDS,
    FaultCase,
    build_case_parameters,
    require_guest_at_source,
)

CASES = (fault_cases.FIRST_ITERATION, fault_cases.SWITCH_OVER)
SLOW_CASES = (
    fault_cases.SETUP,
    fault_cases.LATER_ITERATION,
    fault_cases.DISK_COPY,
    fault_cases.DIRECT,
)


@pytest.mark.requirement("LM-RES-05")
@pytest.mark.parametrize("case", build_case_parameters(CASES, SLOW_CASES), ids=str)
def test_guest_survives_the_end_of_the_destination_qemu(
    case: FaultCase,
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    The guest continues at the source when QEMU at the destination is killed.

    Preconditions: the migration is in the phase of the case.
    Expected: the migration fails with an error. The guest runs at the source with its memory and
    disks intact, nothing is left at the destination, and the same migration succeeds afterwards.
    """
    guest = case.make_guest(testbed)

    with hold_migration(testbed, guest, case.plan, case.phase) as held:
        held.inject_once(
            "QEMU at the destination killed", lambda: kill_qemu(testbed.destination, guest)
        )
        held.release()
        migration = held.wait_for_end()

    record_figures(f"destination QEMU killed {case}", {"error": migration.outcome.message})
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("destination-lost", migration.outcome.message)

    testbed.migrate(guest, case.plan if case.spec.disks else Plan())


@pytest.mark.requirement("LM-RES-05")
def test_guest_survives_the_end_of_the_destination_daemon(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    The guest continues at the source when libvirt's daemon at the destination is killed.

    Preconditions: the migration is in the first iteration over guest memory.
    Expected: the migration fails with an error. The guest runs at the source with its memory
    intact, nothing is left at the destination, and the same migration succeeds afterwards.
    """
    guest = testbed.make_guest(GuestSpec())

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once(
            "libvirt's daemon at the destination killed", lambda: kill_daemon(testbed.destination)
        )
        held.release()
        migration = held.wait_for_end()

    record_figures("destination daemon killed", {"error": migration.outcome.message})
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("destination-lost", migration.outcome.message)

    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-05")
@pytest.mark.slow
@pytest.mark.timeout(POWER_TEST_SECONDS)
def test_guest_survives_a_power_failure_of_the_destination(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    The guest continues at the source when the destination loses power.

    Preconditions: the migration is in the first iteration over guest memory. The destination is
    switched off, and no packet announces the end.
    Expected: the migration fails, and the guest runs at the source with its memory intact. After
    the destination has booted again, nothing of the guest is there, and a migration succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject(
            "power failure of the destination", power_off(journal, held.destination, guest)
        ):
            held.release()
            held.wait_for_job_end()
        migration = held.wait_for_end()

    record_figures(
        "power failure of the destination",
        {"error": migration.outcome.message, "seconds": round(migration.outcome.seconds, 1)},
    )
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("destination-lost", migration.outcome.message)

    testbed.migrate(guest, Plan())
