"""LM-RES-02: a migration loses its connection in post-copy, and is resumed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.stack_messages import RecordReservation, RecordStackMessage
from migqual.errors import InconclusiveError, MigqualError, MigrationError
from migqual.faults.qemu_faults import kill_qemu
from migqual.model.plan import Control, Plan
from migqual.testbed.held_migration import HeldMigration
from migqual.testbed.postcopy_recovery import resume_postcopy, wait_for_status
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.postcopy_loss import (
    GUEST_SPEC,
    POSTCOPY_PLAN,
    BreakConnection,
    attempt_recovery,
    break_and_wait,
    give_up,
    hold_in_postcopy,
    lose_postcopy_connection,
    pause_by_command,
    recover,
    reset_connections,
)

pytestmark = pytest.mark.beyond_requirement

DIRECT = replace(POSTCOPY_PLAN, control=Control.DIRECT)
ENCRYPTED = replace(POSTCOPY_PLAN, tls=True)


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.parametrize(
    ("plan", "break_connection"),
    [
        pytest.param(POSTCOPY_PLAN, reset_connections, id="reset"),
        pytest.param(DIRECT, reset_connections, id="direct", marks=pytest.mark.slow),
        pytest.param(POSTCOPY_PLAN, pause_by_command, id="command", marks=pytest.mark.slow),
    ],
)
def test_lost_connection_is_recovered(
    plan: Plan,
    break_connection: BreakConnection,
    testbed: Testbed,
    record_stack_message: RecordStackMessage,
    record_reservation: RecordReservation,
) -> None:
    """
    A guest that lost the connection in post-copy arrives intact when the migration is resumed.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. The connections between the two QEMU processes are reset, or an operator pauses the
    post-copy.
    Expected: the migration ends with an error, and QEMU at both ends pauses the post-copy. The
    resumed migration completes. Memory and TCP session of the guest are intact. If libvirt's daemon
    crashes instead, no host runs a second copy, and the report lists a reservation.
    """
    recover_guest(testbed, plan, break_connection, record_stack_message, record_reservation)


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.slow
def test_lost_encrypted_connection_is_recovered(
    encryption: Encryption,  # noqa: ARG001 - both hosts hold certificates
    testbed: Testbed,
    record_stack_message: RecordStackMessage,
    record_reservation: RecordReservation,
) -> None:
    """
    A guest that lost a TLS connection in post-copy arrives intact when the migration is resumed.

    Preconditions: the migration uses TLS. The guest runs at the destination, and a part of its
    memory is still at the source. The connections between the two QEMU processes are reset.
    Expected: the same as for a connection without TLS.
    """
    recover_guest(testbed, ENCRYPTED, reset_connections, record_stack_message, record_reservation)


def recover_guest(
    testbed: Testbed,
    plan: Plan,
    break_connection: BreakConnection,
    record_stack_message: RecordStackMessage,
    record_reservation: RecordReservation,
) -> None:
    """Break the connection in post-copy, resume the migration, and check the guest."""
    guest = testbed.make_guest(GUEST_SPEC)

    with (
        lose_postcopy_connection(testbed, guest, plan, break_connection) as held,
        attempt_recovery(held, record_reservation) as recovery,
    ):
        recover(held, record_reservation)
    if recovery.has_crashed:
        return
    migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationError)
    record_stack_message("postcopy-failed", migration.outcome.message)
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.slow
def test_connection_lost_twice_is_recovered(
    testbed: Testbed, record_reservation: RecordReservation
) -> None:
    """
    A guest that loses the connection once more during the recovery arrives at the second recovery.

    Preconditions: the connection was lost in post-copy, and the migration is being resumed. Then
    the new connection is lost, too.
    Expected: the first recovery ends with an error. The second recovery completes, and memory and
    TCP session of the guest are intact.
    """
    guest = testbed.make_guest(GUEST_SPEC)

    with (
        lose_postcopy_connection(testbed, guest) as held,
        attempt_recovery(held, record_reservation) as recovery,
    ):
        lose_connection_during_recovery(held)
        recover(held, record_reservation)
    if recovery.has_crashed:
        return
    raise_violations(held.wait_for_end().violations)
    assert guest.host is testbed.destination


def lose_connection_during_recovery(held: HeldMigration) -> None:
    """Resume the migration, reset the new connections, and wait until both ends pause again."""
    with ThreadPoolExecutor(1) as executor:
        recovery = executor.submit(
            resume_postcopy, held, POSTCOPY_PLAN.postcopy_bandwidth_mib_s or 1
        )
        wait_for_status(held, "postcopy-active")
        break_and_wait(held, reset_connections)
    if not isinstance(recovery.exception(), MigrationError):
        raise InconclusiveError(
            "the resumed migration ended before the test could break its connection again"
        )


@pytest.mark.requirement("LM-RES-02")
def test_recovery_of_a_running_migration_is_refused(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    libvirt refuses to resume a migration in post-copy whose connection works.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source.
    Expected: libvirt refuses to resume the migration. Then the migration completes without a
    recovery, and the guest is intact.
    """
    guest = testbed.make_guest(GUEST_SPEC)

    with hold_in_postcopy(testbed, guest, POSTCOPY_PLAN) as held:
        with pytest.raises(MigrationError) as refusal:
            resume_postcopy(held)
        held.wait(0)  # inconclusive if the migration has ended
        held.release()
        held.wait_for_job_end()
    migration = held.wait_for_end()

    record_stack_message("recovery-refused", refusal.value.message)
    raise_violations(migration.violations)
    assert migration.error is None
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-RES-02")
@pytest.mark.slow
@pytest.mark.parametrize("lost_end", ["source", "destination"])
def test_guest_without_both_ends_starts_again(lost_end: str, testbed: Testbed) -> None:
    """
    A guest in a paused post-copy that loses one end is lost: no host runs it.

    Preconditions: the connection was lost in post-copy. Then QEMU at one end is killed.
    Expected: libvirt refuses to resume the migration. At most the end at the destination stays, and
    it can be destroyed. Afterwards the guest starts again from its definition.
    """
    guest = testbed.make_guest(GUEST_SPEC)

    with lose_postcopy_connection(testbed, guest) as held:
        kill_qemu(held.source if lost_end == "source" else held.destination, guest)
        with pytest.raises(MigqualError):
            resume_postcopy(held)
        give_up(held)
