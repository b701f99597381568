"""Testbed: a pair of hosts, a client, and guests that observers watch during every migration."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from secrets import token_hex

from migqual import paths
from migqual.errors import HostError, TimedOut, UsageError, ViolationError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.provision import Provisioner
from migqual.image.guest_image import ensure_guest_image
from migqual.inventory.entities import Inventory
from migqual.migration.job_sampler import OnSample
from migqual.model.guest_spec import GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.observe import split_brain
from migqual.observe.gap_meter import run_gap_meter
from migqual.probes.probe_context import ProbeContext
from migqual.step_times import time_step
from migqual.testbed.host_pair import HostPair
from migqual.testbed.observers import ObservedMigration, Observers


@dataclass
class Testbed:
    """A pair of hosts with a client, and the guests of a test or of a benchmark.

    A subclass can override `handle_new_guest` and `handle_outcome`, e.g. to write records.

    Attributes:
        pair: The source and the destination.
        client: The host of the gap meters.
        provisioner: Creates and removes the guests.
        observers: The observers of each guest, by guest name.
        guests: All guests made so far.

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
        """Return the source and the destination."""
        return self.pair.hosts

    @property
    def inventory(self) -> Inventory:
        """Return the inventory of the hosts."""
        return self.provisioner.inventory

    @cached_property
    def probe_context(self) -> ProbeContext:
        """Return the context for probes on both hosts."""
        return build_probe_context(self.provisioner, self.hosts)

    def running_guest(self, spec: GuestSpec) -> AbstractContextManager[Guest]:
        """Run a guest without observers on the source, and remove the guest after the block."""
        return self.provisioner.running_guest(spec, self.source, self.destination)

    def make_guest(self, spec: GuestSpec) -> Guest:
        """Make a guest on the source: up, loaded, and observed until `close`.

        Args:
            spec: The specification of the guest.

        Returns:
            The guest. The gap meter has received a reply.

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
            guest, meter, self.hosts, self.probe_context, self.pair.clock_error_us
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
        """Migrate a guest to the other host of the pair, with every observer.

        Args:
            guest: A guest of `make_guest`.
            plan: Options and limits of the migration.
            destination: The destination host; None for the other host of the pair.
            on_sample: Called with each sample of the job.

        Returns:
            The outcome of the migration.

        Raises:
            MigrationError: libvirt or QEMU refused or failed the migration, or a limit of the
                plan ended the migration.
            GuardRefusal: The guard refused the migration before the start.
            ViolationError: An observer found a violation.
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
    ) -> ObservedMigration:
        """Migrate as `migrate`, and return error and violations instead of raising them.

        Args:
            guest: A guest of `make_guest`.
            plan: Options and limits of the migration.
            destination: The destination host; None for the other host of the pair.
            on_sample: Called with each sample of the job.

        Returns:
            The outcome, the error of the migration and the violations.

        Raises:
            GuardRefusal: The guard refused the migration before the start.
            HostError: A call failed although the QEMU of the guest still exists.
            ViolationError: A call failed, because the QEMU of the guest died.
            ViolationError: A call failed, because the QEMU of the guest died.
        """
        try:
            migration = self.observers[guest.name].migrate(
                destination or self.pair.get_peer(guest.host),
                plan,
                on_sample=on_sample,
                on_interrupted=self.handle_outcome,
            )
        except HostError as error:
            self._raise_if_lost(guest, error)
            raise
        self.handle_outcome(migration.outcome)
        return migration

    def _raise_if_lost(self, guest: Guest, error: HostError) -> None:
        """Raise a violation for a guest whose QEMU died; otherwise the error says enough."""
        with suppress(HostError, TimedOut):
            if any(host.list_qemu_pids(guest.name) for host in self.hosts):
                return
            violations = split_brain.find_split_brain_violations(guest, self.hosts)
            raise_violations(tuple(f"{text}; then {error.message}" for text in violations))

    def detach_observers(self, guest: Guest) -> Observers:
        """Detach and return the observers of a guest: later checks leave the guest out."""
        return self.observers.pop(guest.name)

    def check_guests(self) -> None:
        """Check every observed guest: each page, each acknowledged block, a single copy.

        Raises:
            ViolationError: An observer found a violation.
        """
        raise_violations(
            tuple(
                violation
                for guest_observers in self.observers.values()
                for violation in guest_observers.find_violations()
            )
        )

    def close(self) -> None:
        """Stop the gap meters, and remove the guests."""
        self.observers.clear()
        self._exit_stack.close()

    def handle_new_guest(self, guest: Guest) -> None:
        """Handle a started guest, before the start of the load; a hook for subclasses."""

    def handle_outcome(self, outcome: Outcome) -> None:
        """Handle the outcome of each ended or interrupted migration; a hook for subclasses."""


def build_probe_context(provisioner: Provisioner, hosts: tuple[Host, ...]) -> ProbeContext:
    """Build the context for probes on `hosts`, and stage the payload on each host."""
    payloads = {host.name: provisioner.stage_files(host) / "payload" for host in hosts}
    return ProbeContext(provisioner.journal, payloads)


def raise_violations(violations: tuple[str, ...]) -> None:
    """Raise all violations as a single error.

    Raises:
        ViolationError: There is at least one violation.
    """
    if violations:
        raise ViolationError("; ".join(violations))


@contextmanager
def connect_testbed(inventory: Inventory) -> Iterator[Testbed]:
    """Connect to the first pair; afterwards remove everything that was created on the hosts.

    Args:
        inventory: The inventory, with a client.

    Raises:
        UsageError: The inventory names no client.
    """
    if inventory.client is None:
        raise UsageError("the inventory names no client", remedy="set migqual_client")
    pair = inventory.pairs[0]
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(Host(entry)) for name, entry in inventory.hosts.items()}
        run_id = token_hex(3)
        provisioner = Provisioner(
            run_id,
            inventory,
            hosts,
            Journal(f"{run_id}-testbed", inventory),
            ensure_guest_image(paths.get_cache_folder(), report_progress=lambda _line: None),
        )
        stack.callback(provisioner.close)
        testbed = Testbed(
            HostPair(hosts[pair.source.name], hosts[pair.destination.name]),
            hosts[inventory.client.name],
            provisioner,
        )
        stack.callback(testbed.close)
        yield testbed
