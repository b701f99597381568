"""A test proves nothing if its fault does not fall in the intended phase of the migration."""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check


def test_fault_after_the_end_of_the_phase_is_inconclusive(testbed: Testbed) -> None:
    """
    A test is inconclusive if its fault falls after the intended phase of the migration.

    Preconditions: a bandwidth limit keeps the migration in the first iteration. Then the limit is
    removed, and the migration ends. Only then the test injects its fault.
    Expected: the final check is inconclusive. The message names the intended and the actual phase.
    """
    guest = testbed.make_guest(GuestSpec())

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        held.release()
        held.wait_for_job_end()
        held.inject_once("late fault", lambda: None)
        with pytest.raises(InconclusiveError, match="late fault did not fall in the phase first"):
            held.wait_for_end()


def test_migration_that_ends_before_the_phase_is_inconclusive(testbed: Testbed) -> None:
    """
    A test is inconclusive if the migration completes before the intended phase of the fault.

    Preconditions: a pre-copy migration. The intended phase is a paused post-copy, which no pre-copy
    migration reaches.
    Expected: the test is inconclusive. The guest runs at the destination, and is intact.
    """
    guest = testbed.make_guest(GuestSpec())

    with (
        pytest.raises(InconclusiveError, match="ended before the phase post-copy-paused"),
        hold_migration(testbed, guest, Plan(), MigrationPhase.POSTCOPY_PAUSED),
    ):
        pytest.fail("the migration is in a paused post-copy")

    assert guest.host is testbed.destination
