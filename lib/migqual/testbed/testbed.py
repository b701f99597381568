"""Provide a testbed, which consists of two hosts, a client, and guests that migqual checks."""

from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property

from migqual.errors import HostError, TimedOut, ViolationError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.inventory.entities import Inventory
from migqual.inventory.stores import DirectoryStore, StoreKind
from migqual.migration.job_sampler import OnSample
from migqual.model.guest_event import GuestEvent
from migqual.model.guest_spec import GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety
from migqual.model.record import FaultRecord
from migqual.observe import split_brain
from migqual.observe.gap_meter import run_gap_meter
from migqual.preflight.check_libvirt_safety import is_shared_filesystem
from migqual.preflight.disk_prober import query_filesystem
from migqual.probes.probe_context import ProbeContext
from migqual.step_times import time_step
from migqual.testbed.host_pair import HostPair
from migqual.testbed.observers import ObservedMigration, Observers, OnEnded


@dataclass
class Testbed:
    """A pair of hosts with a client, and the guests of a test or of a benchmark.

    A subclass can override `handle_new_guest`, `handle_outcome` and `handle_fault_log`, e.g. to
    write records.

    Attributes:
        pair: The source and the destination.
        client: The host whose gap meters send probes to the guests.
        provisioner: Creates and removes the guests.
        observers: The observers (checks) of each guest, by guest name.
        guests: All guests that `make_guest` has made.

    Example:
        Migrate a guest to the destination and back, with all observers::

            with connect_testbed(inventory) as testbed:
                guest = testbed.make_guest(GuestSpec())
                testbed.migrate(guest, Plan(postcopy=True))
                outcome = testbed.migrate(guest, Plan(channels=2))
    """

    __test__ = False  # pytest must not collect the class as a test

    pair: HostPair
    client: Host
    provisioner: Provisioner
    observers: dict[str, Observers] = field(default_factory=dict)
    guests: list[Guest] = field(default_factory=list)
    _exit_stack: ExitStack = field(default_factory=ExitStack)

    @property
    def source(self) -> Host:
        """Return the source host."""
        return self.pair.source

    @property
    def destination(self) -> Host:
        """Return the destination host."""
        return self.pair.destination

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Return the source, then the destination."""
        return self.pair.hosts

    @property
    def inventory(self) -> Inventory:
        """Return the inventory that contains the hosts."""
        return self.provisioner.inventory

    @cached_property
    def probe_context(self) -> ProbeContext:
        """Return the journal and the paths of migqual's program, for probes on the two hosts."""
        return build_probe_context(self.provisioner, self.hosts)

    @cached_property
    def is_shared_directory_trusted(self) -> bool:
        """Return whether libvirt counts the file system of the directory store as shared.

        libvirt trusts such a file system, and migrates a guest with disks there without `--unsafe`.

        Raises:
            UsageError: The inventory has no directory store.
        """
        store = self.inventory.find_store(StoreKind.DIRECTORY)
        assert isinstance(store, DirectoryStore)
        return all(
            is_shared_filesystem(query_filesystem(host, str(store.path))) for host in self.hosts
        )

    def choose_safety(self, spec: GuestSpec) -> Safety:
        """Choose UNSAFE if libvirt's safety check would refuse to migrate the guest, else CHECKED.

        The safety check refuses a guest with a disk in the directory store if libvirt does not
        count the file system of the store as shared.
        """
        has_directory_disk = any(disk.store is StoreKind.DIRECTORY for disk in spec.disks)
        is_refused = has_directory_disk and not self.is_shared_directory_trusted
        return Safety.UNSAFE if is_refused else Safety.CHECKED

    def running_guest(self, spec: GuestSpec) -> AbstractContextManager[Guest]:
        """Run a guest on the source during the block, without observers, then remove the guest."""
        return self.provisioner.running_guest(spec, self.source, self.destination)

    def make_guest(self, spec: GuestSpec) -> Guest:
        """Start a guest on the source, with guest load, gap meter and checks (observers).

        `close` removes the guest.

        Args:
            spec: The specification of the guest.

        Returns:
            The running guest. The gap meter has received a reply.

        Raises:
            GuestError: The guest does not start or does not answer.
            HostError: The host cannot create the guest.
        """
        payload = self.provisioner.stage_files(self.client) / "payload"
        guest = self.provisioner.launch_guest(spec, self.source)
        self._exit_stack.callback(self.provisioner.remove_guest, guest)
        self.guests.append(guest)
        self.handle_new_guest(guest)
        self.provisioner.start_guest_load(guest, self.destination)
        with time_step("start the gap meter"):
            meter = self._exit_stack.enter_context(
                run_gap_meter(self.client, payload, guest.address)
            )
            meter.wait_for_reply(0)
            meter.wait_for_session(0)
        self.observers[guest.name] = Observers(
            guest, meter, self.hosts, self.probe_context, self.pair.has_common_clock
        )
        return guest

    def migrate(
        self,
        guest: Guest,
        plan: Plan,
        *,
        destination: Host | None = None,
        on_sample: OnSample | None = None,
    ) -> Outcome:
        """Migrate a guest to the destination, then check the guest and the hosts.

        Args:
            guest: A guest from `make_guest`.
            plan: Settings of the migration.
            destination: The host to migrate to; None means the peer of the guest's host.
            on_sample: Called with each job sample. The result `SampleAction.ABORT` aborts the
                migration.

        Returns:
            The outcome of the migration.

        Raises:
            MigrationError: libvirt or QEMU refused the migration, or the migration failed or was
                aborted.
            GuardRefusal: The guard (migqual's preflight check) refused the migration before the
                start.
            ViolationError: A check of the guest or of the hosts found a problem.
        """
        migration = self.observe_migration(
            guest, plan, destination=destination, on_sample=on_sample
        )
        raise_violations(migration.violations)
        if migration.error is not None:
            migration.error.outcome = migration.outcome
            raise migration.error
        return migration.outcome

    def observe_migration(
        self,
        guest: Guest,
        plan: Plan,
        *,
        destination: Host | None = None,
        on_sample: OnSample | None = None,
        on_ended: OnEnded | None = None,
    ) -> ObservedMigration:
        """Migrate a guest like `migrate`, but return the migration error and the violations.

        A violation is a problem that a check of the guest or of the hosts found after the
        migration.

        Args:
            guest: A guest from `make_guest`.
            plan: Settings of the migration.
            destination: The host to migrate to; None means the peer of the guest's host.
            on_sample: Called with each job sample. The result `SampleAction.ABORT` aborts the
                migration.
            on_ended: Called after the end of the migration, before the checks. The function may
                wait, for example until a host answers again.

        Returns:
            The outcome, the error of the migration and the violations.

        Raises:
            GuardRefusal: The guard (migqual's preflight check) refused the migration before the
                start.
            HostError: A call to a host failed, and the guest may still run.
            ViolationError: A call to a host failed, and the guest is lost: no host has a QEMU
                process of the guest.
        """
        try:
            migration = self.observers[guest.name].migrate(
                destination or self.pair.get_peer(guest.host),
                plan,
                on_sample=on_sample,
                on_interrupted=self.handle_outcome,
                on_ended=on_ended,
            )
        except HostError as error:
            self._raise_if_lost(guest, error)
            raise
        self.handle_outcome(migration.outcome)
        return migration

    def _raise_if_lost(self, guest: Guest, error: HostError) -> None:
        """Raise a `ViolationError` if no host runs QEMU of the guest; otherwise do nothing."""
        with suppress(HostError, TimedOut):
            if any(host.list_qemu_pids(guest.name) for host in self.hosts):
                return
            violations = split_brain.find_split_brain_violations(guest, self.hosts)
            raise_violations(
                tuple(f"{text}; the call that failed: {error.message}" for text in violations)
            )

    def detach_observers(self, guest: Guest) -> Observers:
        """Remove and return the observers of a guest, so that `check_guests` omits the guest."""
        return self.observers.pop(guest.name)

    def check_guests(self) -> None:
        """Check each guest from `make_guest`, except a guest passed to `detach_observers`.

        The checks (observers) cover memory, disks, TCP session, reboots and split brain.

        Raises:
            ViolationError: A check of the guest or of the hosts found a problem.
        """
        raise_violations(
            tuple(
                violation
                for guest_observers in self.observers.values()
                for violation in guest_observers.find_violations()
            )
        )

    def close(self) -> None:
        """Stop the gap meters, and remove all guests of the testbed from the hosts."""
        self.observers.clear()
        self._exit_stack.close()

    def handle_new_guest(self, guest: Guest) -> None:
        """Receive a new guest before the guest load starts.

        The method does nothing. A subclass can override the method.
        """

    def handle_outcome(self, outcome: Outcome) -> None:
        """Receive the outcome of a migration that has ended.

        The method does nothing. A subclass can override the method.
        """

    def handle_fault_log(
        self,
        events: tuple[GuestEvent, ...],
        faults: tuple[FaultRecord, ...],
        outcome: Outcome | None,
    ) -> None:
        """Receive the events and the faults of a migration that `hold_migration` held in a phase.

        The method does nothing. A subclass can override the method. `hold_migration` calls the
        method after the migration.

        Args:
            events: The events of the guest on both hosts, with the faults between them.
            faults: The faults with their phases, oldest first.
            outcome: The outcome of the migration, or None if the migration has no outcome.
        """


def build_probe_context(provisioner: Provisioner, hosts: tuple[Host, ...]) -> ProbeContext:
    """Copy the payload (migqual's program) to `hosts`, and build the context for probes."""
    payloads = {host.name: provisioner.stage_files(host) / "payload" for host in hosts}
    return ProbeContext(provisioner.journal, payloads)


def raise_violations(violations: tuple[str, ...]) -> None:
    """Raise one error with all `violations`. Without a violation, do nothing.

    Raises:
        ViolationError: There is at least one violation.
    """
    if violations:
        raise ViolationError("; ".join(violations))
