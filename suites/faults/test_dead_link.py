"""LM-RES-02: the migration link stays down, and libvirt or the operator gives up the migration."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationFailed
from migqual.faults.link_cut import LinkTraffic, cut_migration_link, cut_qemu_connections
from migqual.hosts.domain_job import abort_job
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations

WAIT_S = 3.0


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.slow
def test_dead_link_fails_the_migration(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    A peer-to-peer migration fails when the link to the destination stays down.

    Preconditions: the migration is in the first iteration over guest memory. All packets between
    the two hosts on the migration network are dropped until libvirt reports an end.
    Expected: libvirt gives up by itself, and the error names the reason. The guest runs at the
    source, nothing is left at the destination, and the same migration succeeds on the healed link.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal
    cut = cut_migration_link(journal, testbed.source, testbed.destination, LinkTraffic.ALL)

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject("link cut for good", cut):
            held.release()
            held.wait_for_job_end()
        migration = held.wait_for_end()

    record_figures(
        "dead link",
        {"error": migration.outcome.message, "seconds": round(migration.outcome.seconds, 1)},
    )
    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationFailed)
    record_stack_message("dead-link", migration.outcome.message)
    assert guest.host is testbed.source

    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-02")
def test_abort_ends_a_migration_with_a_dead_link(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    An operator can abort a migration whose data connections are dead.

    Preconditions: the migration is in the first iteration over guest memory. All packets of its
    QEMU connections are dropped. The connection between the two libvirts works.
    Expected: the migration waits, and the abort ends it while the connections are still dead. The
    guest runs at the source, nothing is left at the destination, and the same migration succeeds
    afterwards.
    """
    guest = testbed.make_guest(GuestSpec())
    cut = cut_qemu_connections(testbed.probe_context.journal, guest, testbed.destination)

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject("data connections cut for good", cut):
            held.release()
            held.wait(WAIT_S)
            abort_job(guest.domain)
            held.wait_for_job_end()
        migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationFailed)
    record_stack_message("aborted", migration.outcome.message)
    assert guest.host is testbed.source

    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.slow
def test_dead_control_link_fails_the_migration(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    A peer-to-peer migration fails when the two libvirts lose their connection for good.

    Preconditions: the migration is in the first iteration over guest memory. All packets of the
    connection between the two libvirts are dropped until libvirt reports an end. The connections
    between the two QEMU processes work.
    Expected: libvirt gives up by itself, and the error names the reason. The guest runs at the
    source, nothing is left at the destination, and the same migration succeeds on the healed link.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal
    cut = cut_migration_link(journal, testbed.source, testbed.destination, LinkTraffic.CONTROL)

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject("control link cut for good", cut):
            held.wait_for_job_end()
        migration = held.wait_for_end()

    record_figures(
        "dead control link",
        {"error": migration.outcome.message, "seconds": round(migration.outcome.seconds, 1)},
    )
    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationFailed)
    record_stack_message("dead-link", migration.outcome.message)
    assert guest.host is testbed.source

    testbed.migrate(guest, Plan())
