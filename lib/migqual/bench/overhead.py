"""How much longer a migration takes with all observers around it than with bare `virsh migrate`."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
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
from migqual.migration.run import endpoint
from migqual.model import command
from migqual.model.guest import GuestSpec
from migqual.model.inventory import Inventory
from migqual.model.plan import Plan
from migqual.observe.meter import watching
from migqual.observe.observed import Observers


@dataclass(frozen=True)
class Overhead:
    """Wall times in s. `observed`: the call of `migrate` while all observers run; `whole`: the
    same with the undisturbed window before it and every check after it."""

    bare: tuple[float, ...]
    observed: tuple[float, ...]
    whole: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(self.observed) / statistics.median(self.bare)


def measure(
    inventory: Inventory, *, rounds: int, memory_mib: int, say: Callable[[str], None]
) -> Overhead:
    """Migrate one idle guest to and fro, bare and observed in turn (ABBA), `rounds` times each."""
    bare: list[float] = []
    observed: list[float] = []
    whole: list[float] = []
    with _observed_guest(inventory, memory_mib) as (observers, hosts):
        guest = observers.guest

        def once_bare() -> None:
            bare.append(_bare(guest, _other(guest, hosts)))

        def once_observed() -> None:
            began = time.monotonic()
            result = observers.migrate(_other(guest, hosts), Plan())
            whole.append(time.monotonic() - began)
            if result.error or result.complaints:
                raise result.error or UsageError("; ".join(result.complaints))
            observed.append(result.outcome.seconds)

        once_bare()  # the first of each is colder than all later ones
        once_observed()
        for kept in (bare, observed, whole):
            kept.clear()
        for number in range(rounds):
            order = (once_bare, once_observed) if number % 2 == 0 else (once_observed, once_bare)
            for step in order:
                step()
            say(f"{number + 1:3}  bare {bare[-1]:.3f} s  observed {observed[-1]:.3f} s")
    return Overhead(tuple(bare), tuple(observed), tuple(whole))


@contextmanager
def _observed_guest(
    inventory: Inventory, memory_mib: int
) -> Iterator[tuple[Observers, tuple[Host, Host]]]:
    if inventory.client is None:
        raise UsageError("the inventory names no client", remedy="set migqual_client")
    pair = inventory.pairs[0]
    with ExitStack() as stack:
        entries = (pair.source, pair.destination, inventory.client)
        source, destination, client = (stack.enter_context(Host(entry)) for entry in entries)
        hosts = {host.name: host for host in (source, destination, client)}
        run = token_hex(3)
        journal = Journal(f"{run}-bench", inventory)
        image = ensure_guest_image(places.cache(), say=lambda _words: None)
        provision = Provisioner(run, inventory, hosts, journal, image)
        stack.callback(provision.close)
        payload = provision.stage(client) / "payload"
        spec = GuestSpec(memory_mib=memory_mib)
        guest = stack.enter_context(provision.guest(spec, source, destination))
        meter = stack.enter_context(watching(client, payload, guest.address))
        meter.answer_after(0)
        meter.session_after(0)
        yield Observers(guest, meter, (source, destination)), (source, destination)


def _other(guest: Guest, hosts: tuple[Host, Host]) -> Host:
    return hosts[1] if guest.host is hosts[0] else hosts[0]


def _bare(guest: Guest, destination: Host) -> float:
    """Seconds of `virsh migrate` with the same flags and parameters as `Plan()`."""
    words = command.virsh(
        Plan(),
        guest.spec.persistence,
        source_uri=guest.host.libvirt.uri,
        domain=guest.name,
        endpoint=endpoint(destination, Plan()),
    )
    environment = os.environ | {"LC_ALL": "C"}
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise UsageError(f"virsh migrate: {done.stderr.strip()}", remedy=" ".join(words))
    guest.moved(destination)
    return seconds


def lines(found: Overhead) -> list[str]:
    """What `migqual bench overhead` prints; the last line is the ratio."""
    rows = [("virsh migrate", found.bare), ("migrate(), observed", found.observed)]
    rows.append(("with window and checks", found.whole))
    out = [f"{'':24}{'min':>8}{'median':>8}{'max':>8}  s, {len(found.bare)} each"]
    for name, values in rows:
        figures = (min(values), statistics.median(values), max(values))
        out.append(f"{name:24}" + "".join(f"{value:8.3f}" for value in figures))
    whole = statistics.median(found.whole) / statistics.median(found.bare)
    out.append(f"with window and checks, of bare: {whole:.2f}")
    return [*out, f"ratio: {found.ratio:.2f}"]
