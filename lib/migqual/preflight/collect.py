"""Facts from both hosts, asked for side by side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migqual.errors import UsageError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.model.plan import Plan
from migqual.preflight import definition as definitions
from migqual.preflight import host_facts, network
from migqual.preflight.definition import Definition, Disk, Nic
from migqual.preflight.facts import Fact, Facts, Missing, Reach, Seen, Storage
from migqual.preflight.health import health
from migqual.preflight.storage import Prober
from migqual.preflight.tools import Tools, had

# sshd allows ten sessions on a connection; a probe takes two at most
_WORKERS = 5


@dataclass(frozen=True)
class Move:
    """The domain called `guest`, from where to where, and how."""

    guest: str
    source: Host
    destination: Host
    plan: Plan

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.source, self.destination


def collect(move: Move, tools: Tools) -> Facts:
    """Everything about a move. A host that lets nobody in leaves `seen` missing.

    Raises `UsageError` when the source has no such domain.
    """
    with ThreadPoolExecutor(_WORKERS) as pool, ThreadPoolExecutor(_WORKERS) as inner:
        doors = [pool.submit(had, lambda host=host: host.shell.run("true")) for host in move.hosts]
        logins = [pool.submit(host_facts.login, host) for host in move.hosts]
        closed = [found for door in doors if isinstance(found := door.result(), Missing)]
        seen: Fact[Seen]
        seen = closed[0] if closed else had(lambda: _seen(move, tools, pool, inner))
        return Facts(tuple(login.result() for login in logins), seen)


def _seen(move: Move, tools: Tools, pool: ThreadPoolExecutor, inner: ThreadPoolExecutor) -> Seen:
    """Raises `HostError` when libvirt of a host does not answer. Slow questions go first."""
    source, destination = move.hosts
    domain = _find(move)
    found = definitions.read(domain.live_xml())
    reaches = [
        pool.submit(_reaches, origin, target, tools)
        for origin, target in (move.hosts, (destination, source))
    ]
    prober = Prober(source, destination, tools, inner, _elsewhere(move.plan))
    disks = [pool.submit(prober.disk, disk) for disk in found.disks if _has_medium(disk)]
    segments = [
        pool.submit(network.segment, nic, source, destination, tools) for nic in _distinct(found)
    ]
    state = pool.submit(health, domain, found, tools.probes)
    hosts = [pool.submit(host_facts.host_facts, host, found.hugepage_kib) for host in move.hosts]
    offer = pool.submit(host_facts.offer, destination, found)
    compared = pool.submit(had, lambda: host_facts.compare_hosts(source, destination))
    return Seen(
        guest=move.guest,
        plan=move.plan,
        definition=found,
        health=state.result(),
        source=hosts[0].result(),
        destination=hosts[1].result(),
        offer=offer.result(),
        host_cpus=compared.result(),
        disks=tuple(disk.result() for disk in disks),
        reaches=tuple(one for reach in reaches for one in reach.result()),
        segments=tuple(one.result() for one in segments),
        there=_there(move.plan),
    )


def storage(move: Move, tools: Tools) -> Storage:
    """What the disks alone have to tell: all that a guard needs before it copies them.

    Raises `UsageError` when the source has no such domain, `HostError` when libvirt is away.
    """
    found = definitions.read(_find(move).live_xml())
    with ThreadPoolExecutor(_WORKERS) as pool, ThreadPoolExecutor(_WORKERS) as inner:
        prober = Prober(move.source, move.destination, tools, inner, _elsewhere(move.plan))
        disks = pool.map(prober.disk, [disk for disk in found.disks if _has_medium(disk)])
        return Storage(
            move.source.name,
            move.destination.name,
            move.plan,
            tuple(disks),
            tuple(disk.target for disk in found.disks),
            _there(move.plan),
        )


def _there(plan: Plan) -> tuple[str, ...] | None:
    return None if plan.destination_xml is None else tuple(_elsewhere(plan))


def _elsewhere(plan: Plan) -> dict[str, Disk]:
    """The disks of the definition that the plan gives the destination, by target."""
    if plan.destination_xml is None:
        return {}
    return {disk.target: disk for disk in definitions.read(plan.destination_xml).disks}


def _find(move: Move) -> Domain:
    domain = move.source.libvirt.lookup(move.guest)
    if domain is None:
        names = ", ".join(sorted(move.source.libvirt.domains())) or "none"
        raise UsageError(
            f"{move.source.name} has no guest {move.guest!r}", remedy=f"its guests: {names}"
        )
    return domain


def _reaches(origin: Host, target: Host, tools: Tools) -> tuple[Reach, ...]:
    return (*network.control(origin, target, tools), network.data(origin, target, tools))


def _distinct(found: Definition) -> Iterator[Nic]:
    """One interface of each bridge."""
    return iter({(nic.type, nic.source): nic for nic in found.nics}.values())


def _has_medium(disk: Disk) -> bool:
    return bool(disk.source) or disk.device not in {"cdrom", "floppy"}
