"""LM-RES-01: the migration link is down for some seconds during post-copy."""

import pytest

from migqual.faults.link_cut import cut_qemu_connections
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.postcopy import require_postcopy

CUT_S = 3.0
POSTCOPY_PLAN = Plan(postcopy=True)


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.beyond_requirement
@pytest.mark.slow
def test_postcopy_waits_while_its_link_is_down(testbed: Testbed) -> None:
    """
    A migration in post-copy waits while its link is down, and completes when the link is up again.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. The connections of QEMU are cut for some seconds.
    Expected: the migration completes after the cut, and every page is intact.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal

    with (
        require_postcopy(),
        hold_migration(testbed, guest, POSTCOPY_PLAN, MigrationPhase.POSTCOPY) as held,
    ):
        with held.inject("link cut", cut_qemu_connections(journal, guest, testbed.destination)):
            held.release()
            held.wait(CUT_S)
        migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert migration.error is None
    assert migration.outcome.seconds > CUT_S
    assert guest.host is testbed.destination
