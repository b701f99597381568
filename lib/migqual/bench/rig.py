"""What every benchmark stands on: the first pair of an inventory, and guests that go afterwards."""

import os
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from secrets import token_hex

from migqual import places
from migqual.errors import UsageError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.provision import Provisioner
from migqual.image.guest import ensure_guest_image
from migqual.model.inventory import Inventory
from migqual.model.plan import Plan
from migqual.observe.meter import watching
from migqual.observe.observed import Observers
from migqual.preflight.tools import Tools


@dataclass(frozen=True)
class Rig:
    """The hosts of the first pair, the client, and what makes guests on them."""

    source: Host
    destination: Host
    client: Host
    provision: Provisioner

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.source, self.destination

    @property
    def tools(self) -> Tools:
        payloads = {host.name: self.provision.stage(host) / "payload" for host in self.hosts}
        return Tools(self.provision.journal, payloads)

    def other(self, guest: Guest) -> Host:
        """The host of the pair on which `guest` is not."""
        return self.destination if guest.host is self.source else self.source

    @contextmanager
    def observers(self, guest: Guest) -> Iterator[Observers]:
        """All observers around a guest that is up."""
        payload = self.provision.stage(self.client) / "payload"
        with watching(self.client, payload, guest.address) as meter:
            meter.answer_after(0)
            meter.session_after(0)
            yield Observers(guest, meter, self.hosts, self.tools)


@contextmanager
def rig(inventory: Inventory) -> Iterator[Rig]:
    """Connect to the first pair; afterwards nothing of the benchmark is left on any host."""
    if inventory.client is None:
        raise UsageError("the inventory names no client", remedy="set migqual_client")
    pair = inventory.pairs[0]
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(Host(it)) for name, it in inventory.hosts.items()}
        run = token_hex(3)
        provision = Provisioner(
            run,
            inventory,
            hosts,
            Journal(f"{run}-bench", inventory),
            ensure_guest_image(places.cache(), say=lambda _words: None),
        )
        stack.callback(provision.close)
        source, destination = hosts[pair.source.name], hosts[pair.destination.name]
        yield Rig(source, destination, hosts[inventory.client.name], provision)


def observed(observers: Observers, destination: Host, plan: Plan) -> float:
    """Migrate with every observer; the seconds of the call. Raises what went wrong."""
    result = observers.migrate(destination, plan)
    if result.error or result.complaints:
        raise result.error or UsageError("; ".join(result.complaints))
    return result.outcome.seconds


def bare(words: Sequence[str]) -> str:
    """Run a tool as a person would; its output."""
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise UsageError(f"{words[0]}: {done.stderr.strip()}", remedy=" ".join(words))
    return done.stdout


def table(rows: Sequence[tuple[str, Sequence[float]]]) -> list[str]:
    """Smallest, median and largest of each row, in s."""
    out = [f"{'':24}{'min':>8}{'median':>8}{'max':>8}  s, {len(rows[0][1])} each"]
    for name, values in rows:
        figures = (min(values), statistics.median(values), max(values))
        out.append(f"{name:24}" + "".join(f"{value:8.3f}" for value in figures))
    return out


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of the medians."""
    return statistics.median(ours) / statistics.median(theirs)
