"""LM-CAP-02: several guests migrate at the same time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from migqual.errors import MigrationError
from migqual.hosts.domain_job import abort_job
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import HeldMigration, hold_migration
from migqual.testbed.testbed import Testbed, raise_violations

GUESTS_EACH_WAY = 2
# libvirt's daemon works on 5 calls of a client at once, and one must stay free for queries
# (max_client_requests in its configuration).
GUESTS_AT_ONCE = 4
MANY_GUESTS = 10


@pytest.mark.requirement("LM-CAP-02")
def test_guests_migrate_at_once_in_both_directions(testbed: Testbed) -> None:
    """
    Guests that migrate in both directions at the same time all arrive.

    Preconditions: two guests on each host. All four migrations are in the first iteration over
    guest memory at the same time.
    Expected: each guest runs on the other host afterwards, with its memory intact.
    """
    guests = [testbed.make_guest(GuestSpec()) for _ in range(2 * GUESTS_EACH_WAY)]
    for guest in guests[:GUESTS_EACH_WAY]:
        testbed.migrate(guest, Plan())
    peers = {guest.name: testbed.pair.get_peer(guest.host) for guest in guests}

    with hold_together(testbed, guests) as migrations:
        require_all_complete(migrations)

    assert {guest.name: guest.host for guest in guests} == peers


@pytest.mark.requirement("LM-CAP-02")
def test_abort_of_one_migration_disturbs_no_other(testbed: Testbed) -> None:
    """
    An aborted migration has no effect on other migrations between the same hosts.

    Preconditions: the migrations of three guests are in the first iteration at the same time.
    Expected: the guest with the aborted migration runs at the source, and the others run at the
    destination, all with their memory intact.
    """
    guests = [testbed.make_guest(GuestSpec()) for _ in range(3)]

    with hold_together(testbed, guests) as migrations:
        aborted, *others = migrations
        aborted.inject_once("abort", lambda: abort_job(guests[0].domain))
        aborted_migration = aborted.wait_for_end()
        require_all_complete(others)

    raise_violations(aborted_migration.violations)
    assert isinstance(aborted_migration.error, MigrationError)
    assert [guest.host for guest in guests] == [
        testbed.source,
        testbed.destination,
        testbed.destination,
    ]


@pytest.mark.requirement("LM-CAP-02")
@pytest.mark.slow
def test_ten_guests_leave_a_host(testbed: Testbed) -> None:
    """
    Ten guests of a host migrate, as many at the same time as libvirt's daemon permits.

    Expected: all guests run at the destination, with their memory intact.
    """
    guests = [testbed.make_guest(GuestSpec()) for _ in range(MANY_GUESTS)]

    for first in range(0, MANY_GUESTS, GUESTS_AT_ONCE):
        with hold_together(testbed, guests[first : first + GUESTS_AT_ONCE]) as migrations:
            require_all_complete(migrations)

    assert {guest.host for guest in guests} == {testbed.destination}


@contextmanager
def hold_together(testbed: Testbed, guests: Sequence[Guest]) -> Iterator[list[HeldMigration]]:
    """Hold the migrations of all guests in the first iteration at the same time.

    Raises:
        InconclusiveError: A migration ended before all others were in the first iteration.
    """
    with ExitStack() as stack:
        migrations = [
            stack.enter_context(
                hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION)
            )
            for guest in guests
        ]
        for migration in migrations:
            migration.wait(0.0)  # each of them still runs
        yield migrations


def require_all_complete(migrations: Sequence[HeldMigration]) -> None:
    """Release all migrations at once, and require that each completes without a violation."""
    for migration in migrations:
        migration.release()
    for migration in migrations:
        observed = migration.wait_for_end()
        raise_violations(observed.violations)
        assert observed.error is None
