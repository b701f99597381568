"""LM-RES-05: the destination fails while the guest is in post-copy."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationError
from migqual.faults.qemu_faults import kill_qemu
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed
from suites.support.copies import list_running_hosts, start_again, wait_for_single_copy
from suites.support.postcopy import require_postcopy

POSTCOPY_PLAN = Plan(postcopy=True)


@pytest.mark.requirement("LM-RES-05")
@pytest.mark.beyond_requirement
def test_no_incomplete_copy_runs_after_the_loss_of_the_destination_in_postcopy(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    If QEMU at the destination is killed in post-copy, the guest is lost: no host runs the guest.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. QEMU at the destination is killed.
    Expected: the migration fails with an error. No host runs the guest, because no host has the
    whole memory. After `destroy` on both hosts, the guest starts again from its definition.
    """
    guest = testbed.make_guest(GuestSpec())

    with (
        require_postcopy(),
        hold_migration(testbed, guest, POSTCOPY_PLAN, MigrationPhase.POSTCOPY) as held,
    ):
        held.inject_once(
            "QEMU at the destination killed", lambda: kill_qemu(testbed.destination, guest)
        )
        held.release()
        migration = held.wait_for_end()
    testbed.detach_observers(guest)  # the guest is lost, as expected

    states = guest.query_states_by_host(testbed.hosts)
    record_figures(
        "QEMU at the destination killed in post-copy",
        {
            "error": migration.outcome.message,
            **{f"state on {name}": str(state) for name, state in states.items()},
        },
    )
    assert isinstance(migration.error, MigrationError)
    record_stack_message("destination-lost", migration.outcome.message)
    wait_for_single_copy(guest, testbed.hosts, may_stay=True)
    assert list_running_hosts(guest, testbed.hosts) == []
    start_again(testbed, guest)
