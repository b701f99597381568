"""Testbed: connected hosts, a client, and guests that are removed afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from secrets import token_hex

from migqual import paths
from migqual.errors import UsageError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.provision import Provisioner
from migqual.image.guest_image import ensure_guest_image
from migqual.inventory.entities import Inventory
from migqual.observe.gap_meter import run_gap_meter
from migqual.probes.probe_context import ProbeContext
from migqual.testbed.observers import Observers


@dataclass(frozen=True)
class Testbed:
    """The hosts of the first pair, the client, and the provisioner for guests."""

    source: Host
    destination: Host
    client: Host
    provisioner: Provisioner

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Return the source and the destination."""
        return self.source, self.destination

    @property
    def probe_context(self) -> ProbeContext:
        """Return the probe context of both hosts, with the payload staged."""
        payloads = {
            host.name: self.provisioner.stage_files(host) / "payload" for host in self.hosts
        }
        return ProbeContext(self.provisioner.journal, payloads)

    def get_peer(self, guest: Guest) -> Host:
        """Return the host of the pair without the guest."""
        return self.destination if guest.host is self.source else self.source

    @contextmanager
    def observe_guest(self, guest: Guest) -> Iterator[Observers]:
        """Observe a running guest with all observers while the block runs."""
        payload = self.provisioner.stage_files(self.client) / "payload"
        with run_gap_meter(self.client, payload, guest.address) as meter:
            meter.wait_for_reply(0)
            meter.wait_for_session(0)
            yield Observers(guest, meter, self.hosts, self.probe_context)


@contextmanager
def connect_testbed(inventory: Inventory) -> Iterator[Testbed]:
    """Connect to the first pair; afterwards remove all traces of the benchmark from every host.

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
            Journal(f"{run_id}-bench", inventory),
            ensure_guest_image(paths.get_cache_folder(), report_progress=lambda _line: None),
        )
        stack.callback(provisioner.close)
        source, destination = hosts[pair.source.name], hosts[pair.destination.name]
        yield Testbed(source, destination, hosts[inventory.client.name], provisioner)
