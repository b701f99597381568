"""How much longer a migration takes with all observers around it than with bare `virsh migrate`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from migqual.bench import rig
from migqual.bench.rig import Rig
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.run import endpoint
from migqual.model import command
from migqual.model.guest import GuestSpec
from migqual.model.inventory import Inventory
from migqual.model.plan import Plan
from migqual.observe.observed import Observers


@dataclass(frozen=True)
class Overhead:
    """Wall times in s. `observed`: the call of `migrate` while all observers run; `whole`: the
    same with the undisturbed window before it and every check after it."""

    bare: tuple[float, ...]
    observed: tuple[float, ...]
    whole: tuple[float, ...]


def measure(
    inventory: Inventory, *, rounds: int, memory_mib: int, say: Callable[[str], None]
) -> Overhead:
    """Migrate one idle guest to and fro, bare and observed in turn (ABBA), `rounds` times each."""
    spec = GuestSpec(memory_mib=memory_mib)
    with (
        rig.rig(inventory) as found,
        found.provision.guest(spec, found.source, found.destination) as guest,
        found.observers(guest) as observers,
    ):
        return _alternate(found, observers, rounds, say)


def _alternate(
    found: Rig, observers: Observers, rounds: int, say: Callable[[str], None]
) -> Overhead:
    guest = observers.guest
    bare: list[float] = []
    observed: list[float] = []
    whole: list[float] = []

    def once_bare() -> None:
        bare.append(virsh_migrate(guest, found.other(guest), Plan()))

    def once_observed() -> None:
        began = time.monotonic()
        observed.append(rig.observed(observers, found.other(guest), Plan()))
        whole.append(time.monotonic() - began)

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


def virsh_migrate(guest: Guest, destination: Host, plan: Plan) -> float:
    """Seconds of `virsh migrate` with the flags and parameters of `plan`."""
    words = command.virsh(
        plan,
        guest.spec.persistence,
        source_uri=guest.host.libvirt.uri,
        domain=guest.name,
        endpoint=endpoint(destination, plan),
    )
    began = time.monotonic()
    rig.bare(words)
    seconds = time.monotonic() - began
    guest.moved(destination)
    return seconds


def lines(found: Overhead) -> list[str]:
    """What `migqual bench overhead` prints; the last line is the ratio."""
    rows = [("virsh migrate", found.bare), ("migrate(), observed", found.observed)]
    rows.append(("with window and checks", found.whole))
    return [
        *rig.table(rows),
        f"with window and checks, of bare: {rig.ratio(found.whole, found.bare):.2f}",
        f"ratio: {rig.ratio(found.observed, found.bare):.2f}",
    ]
