"""LM-RES-01: the migration link is down for some seconds during a migration."""

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordFigures
from migqual.errors import InconclusiveError
from migqual.faults.link_cut import LinkTraffic, cut_migration_link, cut_qemu_connections
from migqual.hosts.tcp_connections import list_addresses, read_received_bytes
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import HeldMigration, hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support import fault_cases
from suites.support.fault_cases import FaultCase, build_case_parameters

CUT_S = 3.0
LONG_CUT_S = 12.0


CASES = (fault_cases.FIRST_ITERATION, fault_cases.SWITCH_OVER)
SLOW_CASES = (
    fault_cases.LATER_ITERATION,
    fault_cases.DISK_COPY,
    fault_cases.DIRECT,
    fault_cases.CHANNELS,
    fault_cases.COPIED_DISKS,
)


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.parametrize("case", build_case_parameters(CASES, SLOW_CASES), ids=str)
def test_interrupted_link_delays_the_migration(
    case: FaultCase, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A migration waits while its link is down, and completes when the link is up again.

    Preconditions: the test keeps the migration in the phase of the case, for example with a low
    bandwidth limit. Then the link between the two QEMU processes is cut, and the limit is removed.
    Expected: during the cut, the kernel of the destination counts no received byte. The guest
    answers unless the guest is stopped for the switch-over. After the cut the migration completes.
    """
    cut_link_during_migration(case, CUT_S, testbed, record_figures)


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.slow
def test_long_interruption_delays_the_migration(
    testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A migration waits while its link is down for 12 s, and completes when the link is up again.

    Preconditions: the migration is in the first iteration over guest memory. The link is cut.
    Expected: during the cut, the kernel of the destination counts no received byte, and the guest
    answers. After the cut the migration completes.
    """
    cut_link_during_migration(fault_cases.FIRST_ITERATION, LONG_CUT_S, testbed, record_figures)


@pytest.mark.requirement("LM-RES-01")
@pytest.mark.slow
def test_interrupted_encrypted_link_delays_the_migration(
    encryption: Encryption,  # noqa: ARG001 - both hosts hold certificates
    testbed: Testbed,
    record_figures: RecordFigures,
) -> None:
    """
    An encrypted migration waits while its link is down, and completes when the link is up again.

    Preconditions: the migration uses TLS and is in the first iteration over guest memory. The link
    is cut.
    Expected: during the cut, the kernel of the destination counts no received byte, and the guest
    answers. After the cut the migration completes.
    """
    cut_link_during_migration(fault_cases.ENCRYPTED, CUT_S, testbed, record_figures)


@pytest.mark.requirement("LM-RES-01")
def test_interrupted_control_link_delays_the_migration(testbed: Testbed) -> None:
    """
    A migration completes although the two libvirts lose their connection for some seconds.

    Preconditions: the migration is peer-to-peer and in the first iteration over guest memory. All
    packets of the connection between the two libvirts are dropped for some seconds.
    Expected: the migration completes after the cut, and the guest is intact.
    """
    guest = testbed.make_guest(GuestSpec())
    journal = testbed.probe_context.journal
    cut = cut_migration_link(journal, testbed.source, testbed.destination, LinkTraffic.CONTROL)

    with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
        with held.inject(f"control link cut for {CUT_S:g} s", cut):
            held.release()
            held.wait(CUT_S)
        migration = held.wait_for_end()

    raise_violations(migration.violations)
    assert migration.error is None
    assert migration.outcome.seconds > CUT_S
    assert guest.host is testbed.destination


def cut_link_during_migration(
    case: FaultCase, cut_s: float, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """Cut the link in the phase of the case, and check the migration during and after the cut."""
    guest = case.make_guest(testbed)
    journal = testbed.probe_context.journal
    cut = cut_qemu_connections(journal, guest, testbed.destination)

    with hold_migration(testbed, guest, case.plan, case.phase) as held:
        with held.inject(f"link cut for {cut_s:g} s", cut) as link_cut:
            received_before = read_migration_bytes(held)
            if not received_before:
                raise InconclusiveError(
                    "at the start of the link cut, QEMU on the destination had received 0 bytes "
                    "from the source (output of `ss`). The test cannot check whether the cut stops "
                    "the migration data"
                )
            held.release()
            if case.phase is not MigrationPhase.SWITCH_OVER:
                require_answer(held)
            held.wait(cut_s)
            received = read_migration_bytes(held) - received_before
            dropped_packets = link_cut.count_dropped_packets()
        migration = held.wait_for_end()

    record_figures(
        f"link cut {case}",
        {
            "cut_s": cut_s,
            "dropped packets": dropped_packets,
            "received bytes during the cut": received,
            "migration s": round(migration.outcome.seconds, 1),
        },
    )
    raise_violations(migration.violations)
    assert migration.error is None
    assert received == 0
    assert migration.outcome.seconds > cut_s
    assert guest.host is testbed.destination


def read_migration_bytes(held: HeldMigration) -> int:
    """Read the kernel's count of the bytes that QEMU at the destination got from the source."""
    return read_received_bytes(held.destination, held.guest.name, list_addresses(held.source))


def require_answer(held: HeldMigration) -> None:
    """Wait for the next reply of the guest to the client.

    Raises:
        TimedOut: The guest does not answer.
    """
    meter = held.testbed.observers[held.guest.name].meter
    meter.wait_for_reply(meter.mark_time_ns())
