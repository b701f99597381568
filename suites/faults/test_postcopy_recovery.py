"""LM-RES-01: a migration in post-copy loses its connection, and is recovered."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationFailed, MigrationRefused, StackError, UnsupportedError
from migqual.faults.link_cut import cut_qemu_connections
from migqual.hosts.domain_job import pause_postcopy
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.migrate import migrate
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.outcome import MigrationStatus
from migqual.model.plan import Plan
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.postcopy import require_postcopy

CUT_S = 3.0
POSTCOPY_PLAN = Plan(postcopy=True)
RESUME_PLAN = Plan(postcopy=True, postcopy_resume=True)


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.beyond_requirement
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


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.beyond_requirement
def test_paused_postcopy_is_recovered(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A migration in post-copy that lost its connection is recovered, and the guest loses nothing.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. Then the operator pauses the migration, and libvirt reports the failure of post-copy.
    Expected: a second migration with `--postcopy-resume` completes. The guest runs at the
    destination only, and every page is intact. A stack without the recovery says so.
    """
    guest = testbed.make_guest(GuestSpec())

    with (
        require_postcopy(),
        hold_migration(testbed, guest, POSTCOPY_PLAN, MigrationPhase.POSTCOPY) as held,
    ):
        with held.inject("post-copy paused", paused_postcopy(guest), ends_phase=True):
            held.wait_for_job_end()
            outcome = resume_postcopy(guest, testbed.destination)
        migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationFailed)
    record_stack_message("post-copy-paused", migration.outcome.message)
    assert outcome is MigrationStatus.COMPLETED
    assert guest.host is testbed.destination


@contextmanager
def paused_postcopy(guest: Guest) -> Iterator[None]:
    """Pause the migration of the guest in post-copy.

    Raises:
        UnsupportedError: libvirt cannot pause post-copy.
    """
    try:
        pause_postcopy(guest.domain)
    except StackError as error:
        raise UnsupportedError(f"libvirt cannot pause post-copy: {error.message}") from error
    yield


def resume_postcopy(guest: Guest, destination: Host) -> MigrationStatus:
    """Resume the paused migration of the guest, and return how the migration ended.

    Raises:
        UnsupportedError: libvirt or QEMU cannot resume post-copy.
    """
    try:
        return migrate(guest, destination, RESUME_PLAN).status
    except MigrationRefused as error:
        raise UnsupportedError(f"post-copy cannot be resumed: {error.message}") from error
