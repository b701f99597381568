"""Migrations in post-copy that lose the connection between the two QEMU processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from fixtures.plugins.stack_messages import RecordReservation
from migqual.deadline import Deadline
from migqual.errors import MigqualError, MigrationError
from migqual.faults.guest_link import disconnect_guest
from migqual.faults.injection import require_exclusive_hosts
from migqual.faults.link_cut import reset_qemu_connections
from migqual.hosts.domain_job import pause_postcopy
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.libvirt_daemon import find_daemon_unit, read_daemon_pid, wait_for_daemon
from migqual.hosts.qemu_threads import find_qemu_pid_on, read_cpu_time
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, WrittenPart
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.held_migration import HeldMigration, hold_migration
from migqual.testbed.postcopy_recovery import (
    is_paused,
    resume_postcopy,
    wait_for_postcopy_pause,
    wait_for_status,
)
from migqual.testbed.testbed import Testbed
from suites.support.copies import list_running_hosts, start_again, wait_for_single_copy
from suites.support.postcopy import require_postcopy

# All memory is sent once before the switch, so that only the pages that the guest wrote meanwhile
# are missing at the destination.
POSTCOPY_PLAN = Plan(
    postcopy=True,
    postcopy_after_precopy=True,
    bandwidth_mib_s=200,
    downtime_ms=10,
    postcopy_bandwidth_mib_s=4,
)
# The load writes to other pages all the time, so that the vCPU nearly always waits for such a page.
# An emulated vCPU that waits for another page, for example the stack of an interrupt, blocks all of
# QEMU, and QEMU cannot be asked to recover.
GUEST_SPEC = GuestSpec(
    load=GuestLoad(
        "post-copy",
        memory=MemoryLoad(size_mib=112, rate_mib_s=None, written_part=WrittenPart.HEADER),
    )
)
VCPU_SECONDS = 0.05
VCPU_DEADLINE_S = 20.0
POLL_S = 0.1

# Breaks the connection of a held migration. What the function opens stays until the stack closes.
BreakConnection = Callable[[HeldMigration, ExitStack], None]


def reset_connections(held: HeldMigration, stack: ExitStack) -> None:
    """Reset the TCP connections between the two QEMU processes."""
    journal = held.testbed.probe_context.journal
    stack.enter_context(reset_qemu_connections(journal, held.guest, held.destination))


def pause_by_command(held: HeldMigration, _stack: ExitStack) -> None:
    """Pause the migration like `virsh domjobabort --postcopy` at the source."""
    pause_postcopy(held.guest.domain)


@contextmanager
def hold_in_postcopy(testbed: Testbed, guest: Guest, plan: Plan) -> Iterator[HeldMigration]:
    """Hold a migration in post-copy, with the guest disconnected from its network.

    A packet for the guest can lead QEMU's main thread to memory that is still at the source. If the
    connection is lost at this moment, QEMU does not answer libvirt any more. Without packets, only
    the vCPUs of the guest wait for memory. The checks of the migration start when the block ends.

    Raises:
        UnsupportedError: An end does not support post-copy.
        WithheldError: A host has no `migqual_exclusive: true` and is not a lab host.
    """
    require_exclusive_hosts("loss of a connection in post-copy", *testbed.hosts)
    journal = testbed.probe_context.journal
    with (
        require_postcopy(),
        hold_migration(testbed, guest, plan, MigrationPhase.POSTCOPY) as held,
        held.delay_checks(),
        disconnect_guest(journal, held.destination, guest),
    ):
        wait_for_vcpu(held)
        yield held


def wait_for_vcpu(held: HeldMigration) -> None:
    """Wait until the guest has run for 0.05 s of CPU time at the destination.

    After this time, the memory that the guest uses most is at the destination, for example the
    stacks of the kernel.

    Raises:
        InconclusiveError: The migration ends first.
        TimedOut: The guest has not run enough within 20 s.
    """
    host = held.destination
    payload = PurePosixPath(held.testbed.probe_context.get_payload_path(host))
    pid = find_qemu_pid_on(held.guest, host)
    assert pid is not None

    def has_run() -> bool:
        held.wait(POLL_S)
        cpu_time = read_cpu_time(host, payload, pid)
        return cpu_time.process_s - cpu_time.non_vcpu_s >= VCPU_SECONDS

    Deadline(VCPU_DEADLINE_S).wait_for(f"{held.guest.name} to run on {host.name}", has_run)


@contextmanager
def lose_postcopy_connection(
    testbed: Testbed,
    guest: Guest,
    plan: Plan = POSTCOPY_PLAN,
    break_connection: BreakConnection = reset_connections,
) -> Iterator[HeldMigration]:
    """Migrate a guest, break the connection in post-copy, and yield the paused migration.

    The checks of the migration start when the block ends. Call `HeldMigration.wait_for_end` after
    the block: the result contains the error of the migration and the violations.

    Raises:
        InconclusiveError: QEMU does not pause the post-copy at both ends.
        UnsupportedError: An end does not support post-copy.
        WithheldError: A host has no `migqual_exclusive: true` and is not a lab host.
    """
    with hold_in_postcopy(testbed, guest, plan) as held:
        break_and_wait(held, break_connection)
        yield held


def break_and_wait(held: HeldMigration, break_connection: BreakConnection) -> None:
    """Break the connection, and wait until QEMU at both ends waits for a recovery."""
    with ExitStack() as stack:
        held.inject_once("connection lost", lambda: break_connection(held, stack))
        wait_for_postcopy_pause(held)


@dataclass
class Recovery:
    """The result of an attempt to resume a migration.

    Attributes:
        has_crashed: Whether libvirt's daemon of a host ended during the attempt.
    """

    has_crashed: bool = False


@contextmanager
def attempt_recovery(
    held: HeldMigration, record_reservation: RecordReservation
) -> Iterator[Recovery]:
    """Run a block that resumes the migration, and tolerate a crash of libvirt's daemon.

    After a crash, the function ignores the error of the block, and starts the guest again from its
    definition. The report gets a reservation (a note that does not fail the test).
    """
    recovery = Recovery()
    pids = {host.name: read_pid(host) for host in held.testbed.hosts}
    try:
        yield recovery
    except MigqualError:
        crashed = [host for host in held.testbed.hosts if read_pid(host) != pids[host.name]]
        if not crashed:
            raise
        recovery.has_crashed = True
        for host in crashed:
            wait_for_daemon(host)
            record_reservation(
                "daemon-crash",
                f"libvirt's daemon on {host.name} ended when the migration was to be resumed",
            )
        give_up(held)


def recover(held: HeldMigration, record_reservation: RecordReservation) -> None:
    """Resume the migration at full bandwidth, and wait until the guest is at the destination.

    Some versions of libvirt report an error of the resumed migration while QEMU at both ends
    continues. Then the function waits until QEMU completes, and records a reservation (a note in
    the report that does not fail the test).

    Raises:
        InconclusiveError: QEMU continues but does not complete.
        MigrationError: QEMU waits for a recovery again.
    """
    held.release()
    try:
        resume_postcopy(held)
    except MigrationError as error:
        if is_paused(held):
            raise
        wait_for_status(held, "completed")
        wait_for_single_copy(held.guest, (held.source,), may_stay=False)
        held.guest.set_host(held.destination)
        record_reservation("failed-recovery-continues", error.message)


def give_up(held: HeldMigration) -> None:
    """Check that at most one host runs the guest, and start the guest from its definition."""
    held.testbed.detach_observers(held.guest)
    assert len(list_running_hosts(held.guest, held.testbed.hosts)) <= 1
    start_again(held.testbed, held.guest)


def read_pid(host: Host) -> str:
    """Read the process id of libvirt's daemon."""
    return read_daemon_pid(host, find_daemon_unit(host))
