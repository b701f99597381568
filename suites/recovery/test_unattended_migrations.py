"""LM-RES-05, LM-RES-06: a migration in post-copy loses a daemon of libvirt or an end."""

from collections.abc import Callable

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationError
from migqual.faults.daemon_faults import kill_daemon
from migqual.faults.qemu_faults import kill_qemu
from migqual.hosts.host import Host
from migqual.testbed.held_migration import HeldMigration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.copies import wait_for_single_copy
from suites.support.postcopy_loss import GUEST_SPEC, POSTCOPY_PLAN, give_up, hold_in_postcopy

pytestmark = pytest.mark.beyond_requirement


@pytest.mark.slow
@pytest.mark.requirement("LM-RES-05", "LM-RES-06")
@pytest.mark.parametrize(
    "choose_host",
    [
        pytest.param(lambda held: held.source, id="source"),
        pytest.param(lambda held: held.destination, id="destination"),
    ],
)
def test_postcopy_completes_without_a_daemon(
    choose_host: Callable[[HeldMigration], Host],
    testbed: Testbed,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    A guest in post-copy arrives although libvirt's daemon at one end is killed.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. The daemon is killed, and starts again.
    Expected: libvirt reports an error, but the two QEMU processes continue and complete. The guest
    is at the destination, memory and TCP session are intact, and nothing is left at the source.
    """
    guest = testbed.make_guest(GUEST_SPEC)

    with hold_in_postcopy(testbed, guest, POSTCOPY_PLAN) as held:
        host = choose_host(held)
        held.inject_once(f"libvirt's daemon on {host.name} killed", lambda: kill_daemon(host))
        held.release()
        wait_for_single_copy(guest, (held.source,), may_stay=False)
        guest.set_host(held.destination)
    migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationError)
    record_stack_message("daemon-lost", migration.outcome.message)


@pytest.mark.slow
@pytest.mark.requirement("LM-RES-06")
def test_guest_without_its_source_in_postcopy_can_start_again(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A guest in post-copy whose QEMU at the source is killed is lost, and can start again.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. QEMU at the source is killed.
    Expected: the migration ends with an error. At most the destination has a copy. After `destroy`
    the guest starts from its definition.
    """
    guest = testbed.make_guest(GUEST_SPEC)

    with hold_in_postcopy(testbed, guest, POSTCOPY_PLAN) as held:
        held.inject_once("QEMU at the source killed", lambda: kill_qemu(held.source, guest))
        held.wait_for_job_end()
        give_up(held)
    migration = held.wait_for_end()

    assert isinstance(migration.error, MigrationError)
    record_stack_message("source-lost", migration.outcome.message)
