"""What must hold between the values of an inventory: names resolve, files are there, no clashes.

Every check looks at what could be read; what could not has a fault of its own already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from migqual.errors import Fault
from migqual.model.fields import is_address
from migqual.model.inventory import Acceleration, IPAddress, Role, Tier
from migqual.model.inventory_schema import (
    AllVariables,
    DirectoryEntry,
    HostVariables,
    IscsiEntry,
    NbdEntry,
    PairEntry,
    ServiceNetworkEntry,
    StoreEntry,
)
from migqual.model.inventory_tree import Member, Tree, Values
from migqual.model.yamlfile import Location

VARS: Location = ("all", "vars")
OTHERS_MAY = 0o077  # permission bits of everybody but the owner


@dataclass(frozen=True)
class HostDraft:
    """A host as far as it could be read: its values in force, and those that are valid."""

    member: Member
    values: Values
    variables: HostVariables

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(role for role in Role if role.group in self.member.groups)

    @property
    def address(self) -> str:
        """Ansible takes a host's name where it is given no address."""
        return self.variables.ansible_host or self.member.name

    @property
    def migration_address(self) -> str:
        return self.variables.migqual_migration_address or self.address


@dataclass(frozen=True)
class Draft:
    """An inventory as far as it could be read. Pairs and stores come with their places."""

    tree: Tree
    values: Values
    everywhere: AllVariables
    hosts: Mapping[str, HostDraft]
    pairs: Sequence[tuple[Location, PairEntry]]
    stores: Sequence[tuple[Location, StoreEntry]]

    def fault(self, location: Location, words: str) -> Fault:
        return self.tree.document.fault(location, words)

    def value_fault(self, host: HostDraft, name: str, words: str) -> Fault:
        """A fault of the value of `name` in force for `host`, or of its absence."""
        if name in host.values:
            return host.values[name].fault(self.tree.document, (), words)
        return self.fault((*host.member.location, name), words)

    def all_fault(self, name: str, within: Location, words: str) -> Fault:
        """A fault of a value of `all`, or of its absence."""
        if name in self.values:
            return self.values[name].fault(self.tree.document, within, words)
        return self.fault((*VARS, name), words)

    def path(self, host: HostDraft, name: str) -> Path | None:
        """A path of the controller: relative to the file, or to here if it came from outside."""
        path: Path | None = getattr(host.variables, name)
        if path is None or path.is_absolute():
            return path
        in_file = host.values[name].location is not None
        return (self.tree.document.file.absolute().parent if in_file else Path.cwd()) / path

    def client(self) -> HostDraft | None:
        """The client that is named, or the only one there is."""
        if self.everywhere.migqual_client:
            return self.hosts.get(self.everywhere.migqual_client)
        clients = [host for host in self.hosts.values() if Role.CLIENT in host.roles]
        return clients[0] if len(clients) == 1 else None


def crossed(draft: Draft) -> list[Fault]:
    """Every fault between the values of `draft`."""
    checks = (_pairs, _stores, _addresses, _bridges, _known_hosts, _keys, _configs, _client)
    found = [fault for check in checks for fault in check(draft)]
    return [*found, *_network(draft), *_acceleration(draft)]


def _pairs(draft: Draft) -> Iterator[Fault]:
    if "all" in draft.tree.seen and "migqual_pairs" not in draft.values:
        yield draft.fault((*VARS, "migqual_pairs"), "missing")
    seen = set()
    for location, pair in draft.pairs:
        ends = (pair.source, pair.destination)
        for end, name in zip(("source", "destination"), ends, strict=True):
            yield from _hypervisor(draft, (*location, end), name)
        if pair.source == pair.destination:
            yield draft.fault(location, "source and destination are the same host")
        if ends in seen:
            yield draft.fault(location, f"{pair.source} -> {pair.destination} is listed twice")
        seen.add(ends)
    yield from _twins(draft)


def _twins(draft: Draft) -> Iterator[Fault]:
    """A verdict on a pair of real hosts may rest on tests of these hosts only."""
    judged = {f"{p.source}-{p.destination}" for _, p in draft.pairs if p.twin_of is None}
    for location, pair in draft.pairs:
        if pair.twin_of is None:
            continue
        if draft.everywhere.migqual_tier is not Tier.LAB:
            yield draft.fault((*location, "twin_of"), "only the pairs of a lab have twins")
        if pair.twin_of not in judged:
            yield draft.fault((*location, "twin_of"), f"no pair {pair.twin_of!r}")


def _hypervisor(draft: Draft, location: Location, name: str) -> Iterator[Fault]:
    if name not in draft.hosts:
        yield draft.fault(location, f"no host {name!r}")
    elif Role.HYPERVISOR not in draft.hosts[name].roles:
        yield draft.fault(location, f"{name} is not in the group {Role.HYPERVISOR.group!r}")


def _stores(draft: Draft) -> Iterator[Fault]:
    seen = set()
    for location, store in draft.stores:
        if store.name in seen:
            yield draft.fault((*location, "name"), f"a second store {store.name!r}")
        seen.add(store.name)
        if isinstance(store, NbdEntry | IscsiEntry) and store.server not in draft.hosts:
            yield draft.fault((*location, "server"), f"no host {store.server!r}")
        if isinstance(store, DirectoryEntry):
            for at, name in enumerate(store.hosts or ()):
                yield from _hypervisor(draft, (*location, "hosts", at), name)


def _addresses(draft: Draft) -> Iterator[Fault]:
    yield from _clashes(draft, "ansible_host", draft.hosts.values())
    hypervisors = [host for host in draft.hosts.values() if Role.HYPERVISOR in host.roles]
    yield from _clashes(draft, "migqual_migration_address", hypervisors)
    for host in hypervisors:
        address = host.migration_address
        if is_address(address) and ip_address(address).is_loopback:
            name = "migqual_migration_address"
            words = f"{address} is the loopback address; the other host cannot reach it"
            yield draft.value_fault(host, name, words)


def _clashes(draft: Draft, variable: str, hosts: Iterable[HostDraft]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for host in hosts:
        address = host.address if variable == "ansible_host" else host.migration_address
        text = str(ip_address(address)) if is_address(address) else address.lower()
        if text in first:
            words = f"{host.member.name} has the address of {first[text]}: {address}"
            yield draft.value_fault(host, variable, words)
        first.setdefault(text, host.member.name)


def _bridges(draft: Draft) -> Iterator[Fault]:
    paired = {name for _, pair in draft.pairs for name in (pair.source, pair.destination)}
    for name, host in draft.hosts.items():
        if name in paired and not host.values.get("migqual_service_bridge"):
            yield draft.value_fault(host, "migqual_service_bridge", "missing")


def _known_hosts(draft: Draft) -> Iterator[Fault]:
    name = "migqual_known_hosts"
    lacking = [host for host in draft.hosts.values() if name not in host.values]
    if lacking and len(lacking) == len(draft.hosts):
        yield draft.fault((*VARS, name), "missing; host keys are always checked")
    else:
        yield from (draft.value_fault(host, name, "missing") for host in lacking)
    yield from _files(draft, name)


def _files(draft: Draft, name: str) -> Iterator[Fault]:
    for host in draft.hosts.values():
        path = draft.path(host, name)
        if path is not None and not _is_file(path):
            yield draft.value_fault(host, name, f"no such file: {path}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way may not be searched
        return False


def _keys(draft: Draft) -> Iterator[Fault]:
    name = "ansible_ssh_private_key_file"
    yield from _files(draft, name)
    for host in draft.hosts.values():
        path = draft.path(host, name)
        if path is not None and _is_file(path) and (mode := path.stat().st_mode & OTHERS_MAY):
            words = f"others may use the key (permission bits {mode:03o}); chmod 600 {path}"
            yield draft.value_fault(host, name, words)


def _configs(draft: Draft) -> Iterator[Fault]:
    yield from _files(draft, "migqual_ssh_config")


def _client(draft: Draft) -> Iterator[Fault]:
    name = draft.everywhere.migqual_client
    clients = [host.member.name for host in draft.hosts.values() if Role.CLIENT in host.roles]
    if name and name not in draft.hosts:
        yield draft.all_fault("migqual_client", (), f"no host {name!r}")
    elif len(clients) > 1 and "migqual_client" not in draft.values:
        words = f"missing; choose one of {', '.join(clients)}"
        yield draft.all_fault("migqual_client", (), words)


def _network(draft: Draft) -> Iterator[Fault]:
    entry = draft.everywhere.migqual_service_network
    if entry is None:
        return
    name = "migqual_service_network"
    first = entry.addresses[0]
    if entry.prefix > first.max_prefixlen:
        words = f"an IPv{first.version} prefix is at most {first.max_prefixlen}"
        yield draft.all_fault(name, ("prefix",), words)
        return
    network = ip_network(f"{first}/{entry.prefix}", strict=False)
    for address in entry.addresses:
        if address not in network:
            yield draft.all_fault(name, ("addresses",), f"{address} is not in {network}")
            break
    ends = {network.network_address, network.broadcast_address}
    if network.num_addresses > len(ends) and not ends.isdisjoint(entry.addresses):
        words = f"holds the network's own or broadcast address of {network}"
        yield draft.all_fault(name, ("addresses",), words)
    if entry.gateway is not None and entry.gateway not in network:
        yield draft.all_fault(name, ("gateway",), f"{entry.gateway} is not in {network}")
    yield from _taken(draft, entry)


def _taken(draft: Draft, entry: ServiceNetworkEntry) -> Iterator[Fault]:
    taken: dict[IPAddress, str] = {}
    for host in draft.hosts.values():
        for text in (host.address, host.migration_address):
            if is_address(text):
                taken[ip_address(text)] = host.member.name
    if entry.gateway is not None:
        taken[entry.gateway] = "the gateway"
    for address in entry.addresses:
        if address in taken:
            words = f"{address} belongs to {taken[address]}; guests would take it"
            yield draft.all_fault("migqual_service_network", ("addresses",), words)


def _acceleration(draft: Draft) -> Iterator[Fault]:
    asked, expected = (
        draft.everywhere.migqual_acceleration,
        draft.everywhere.migqual_expected_acceleration,
    )
    if expected not in {None, Acceleration.AUTO, asked} and asked is not Acceleration.AUTO:
        words = f"{expected} is expected, but {asked} is asked for"
        yield draft.all_fault("migqual_expected_acceleration", (), words)
