"""LM-PRE-01: another program listens on ports of libvirt's range for migrations."""

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import InconclusiveError, MigrationRefused
from migqual.faults.port_faults import take_ports
from migqual.hosts.tcp_connections import list_addresses, list_qemu_connections
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.preflight.network_probes import read_migration_ports
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations

TAKEN_COUNT = 4


@pytest.mark.requirement("LM-PRE-01")
def test_migration_uses_a_free_port(testbed: Testbed) -> None:
    """
    A migration succeeds although another program listens on the first ports for migrations.

    Preconditions: another program at the destination listens on the first four ports for
    migrations.
    Expected: QEMU at the destination listens on another port for migrations. The migration
    completes, and the guest is intact.
    """
    guest = testbed.make_guest(GuestSpec())
    ports = read_migration_ports(testbed.destination)
    taken_ports = ports[:TAKEN_COUNT]

    with (
        take_ports(get_payload_path(testbed), testbed.destination, taken_ports) as taken_count,
        hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held,
    ):
        connections = list_qemu_connections(
            held.destination, guest.name, list_addresses(held.source)
        )
        held.release()
        migration = held.wait_for_end()

    if taken_count < TAKEN_COUNT:
        raise InconclusiveError(
            f"another program already listens on one or more ports in {taken_ports}"
        )
    raise_violations(migration.violations)
    assert migration.error is None
    used_ports = {connection.local_port for connection in connections}
    assert used_ports & set(ports)
    assert used_ports.isdisjoint(taken_ports)


@pytest.mark.requirement("LM-PRE-01")
def test_migration_without_a_free_port_is_refused(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    libvirt refuses a migration if other programs listen on all ports for migrations.

    Preconditions: another program at the destination listens on every port for migrations.
    Expected: libvirt refuses the migration. The guest continues at the source, and nothing is left
    at the destination. When the ports are free again, the same migration succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    ports = read_migration_ports(testbed.destination)

    with (
        take_ports(get_payload_path(testbed), testbed.destination, ports),
        pytest.raises(MigrationRefused) as refusal,
    ):
        testbed.migrate(guest, Plan())

    record_stack_message("no-free-port", refusal.value.message)
    assert guest.host is testbed.source
    testbed.migrate(guest, Plan())


def get_payload_path(testbed: Testbed) -> str:
    """Return the path of migqual's program on the destination."""
    return testbed.probe_context.get_payload_path(testbed.destination)
