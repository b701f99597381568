"""A fault that does not fall in the phase of a held migration proves nothing."""

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
    A fault that falls after the migration has left the phase is found.

    Preconditions: the migration was in the first iteration, was released, and has ended. Then a
    fault is injected.
    Expected: the end of the migration is inconclusive, and the message names both phases.
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
    A migration that converges before the phase in which it shall be held is found.

    Preconditions: an idle guest and no bandwidth limit, so that the first iteration is the last.
    Expected: inconclusive. The guest has arrived, and is intact.
    """
    guest = testbed.make_guest(GuestSpec())

    with (
        pytest.raises(InconclusiveError, match="ended before the phase later-iteration"),
        hold_migration(testbed, guest, Plan(), MigrationPhase.LATER_ITERATION),
    ):
        pytest.fail("the migration is in a later iteration")

    assert guest.host is testbed.destination
