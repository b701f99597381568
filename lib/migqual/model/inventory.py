"""What a user brings: hosts, pairs, stores, the client, the service network.

Made from a YAML file by `migqual.model.inventory_file`. Everything here is already checked: names
resolve, paths are absolute, addresses are addresses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import ClassVar

from migqual.errors import UsageError

IPAddress = IPv4Address | IPv6Address

DEFAULT_SCRATCH = PurePosixPath("/var/lib/migqual")
STATES = "states"  # folder in the scratch directory where saved states of guests may stay
DEFAULT_PEER_URI = "qemu+ssh://{address}/system"


class Role(StrEnum):
    """What a host is for. Comes from the group that the inventory puts it in."""

    HYPERVISOR = "hypervisor"
    STORAGE = "storage"
    CLIENT = "client"

    @property
    def group(self) -> str:
        """Name of the inventory group whose hosts have this role."""
        return {Role.HYPERVISOR: "hypervisors", Role.STORAGE: "storage", Role.CLIENT: "clients"}[
            self
        ]


class Transport(StrEnum):
    """How the controller reaches libvirt."""

    SSH = "ssh"
    TLS = "tls"


class Tier(StrEnum):
    """Where the hosts come from: what a verdict may be taken for."""

    LAB = "lab"
    REAL = "real"


class Acceleration(StrEnum):
    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class StoreKind(StrEnum):
    DIRECTORY = "directory"
    NBD = "nbd"
    ISCSI = "iscsi"
    LOCAL = "local"


class Certificates(StrEnum):
    """Whose certificates encrypted migrations use: those that the suite issues for the time of a
    run, or those that the host has."""

    ISSUED = "issued"
    OWN = "own"


def bracketed(address: str) -> str:
    """`address` as it stands in a URI: IPv6 in brackets."""
    try:
        return f"[{address}]" if ip_address(address).version == 6 else address
    except ValueError:
        return address


@dataclass(frozen=True)
class Host:
    """One machine: an address for SSH, and what the suite may use on it.

    address            name or IP address that the controller uses
    migration_address  what the other host of the pair uses for libvirt and for guest memory
    key                private key; None leaves the choice to the agent or the ssh_config
    jump_hosts         ``[user@]host[:port]``, outermost first
    service_bridge     bridge that guests' service interfaces join; empty where not a hypervisor
    scratch            directory on the host that only this suite writes to
    emulator           path of QEMU; None takes libvirt's default
    peer_uri_template  libvirt URI of this host as its peer sees it, before filling in
    certificates       whose are used for encrypted migrations
    """

    name: str
    address: str
    known_hosts: Path
    port: int = 22
    user: str = "root"
    key: Path | None = None
    ssh_config: Path | None = None
    jump_hosts: tuple[str, ...] = ()
    uri_transport: Transport = Transport.SSH
    migration_address: str = ""
    service_bridge: str = ""
    scratch: PurePosixPath = DEFAULT_SCRATCH
    emulator: str | None = None
    peer_uri_template: str = DEFAULT_PEER_URI
    roles: frozenset[Role] = frozenset()
    certificates: Certificates = Certificates.ISSUED

    @property
    def peer_uri(self) -> str:
        """libvirt URI by which the other host of a pair reaches this one."""
        return self.peer_uri_template.format(
            address=bracketed(self.migration_address or self.address),
            host=bracketed(self.address),
            name=self.name,
            user=self.user,
            port=self.port,
        )


@dataclass(frozen=True)
class Pair:
    """A source host and a destination host.

    twin_of  id of the pair that this one stands in for: same hosts, built once more; empty where it
             stands for itself
    """

    source: Host
    destination: Host
    twin_of: str = ""

    @property
    def id(self) -> str:
        return f"{self.source.name}-{self.destination.name}"

    @property
    def reversed(self) -> "Pair":
        """The way back."""
        return Pair(self.destination, self.source, self.twin_of)


@dataclass(frozen=True)
class DirectoryStore:
    """A directory that all of `hosts` (names) see at the same path."""

    kind: ClassVar[StoreKind] = StoreKind.DIRECTORY
    name: str
    path: PurePosixPath
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class NbdStore:
    """Disks served by NBD from `directory` of the host named `server`, one port each."""

    kind: ClassVar[StoreKind] = StoreKind.NBD
    name: str
    server: str
    address: str
    directory: PurePosixPath
    ports: range = range(10809, 10900)


@dataclass(frozen=True)
class IscsiStore:
    """Disks served by iSCSI from `directory` of the host named `server`, as LUNs of `target`."""

    kind: ClassVar[StoreKind] = StoreKind.ISCSI
    name: str
    server: str
    address: str
    target: str
    directory: PurePosixPath
    port: int = 3260


@dataclass(frozen=True)
class LocalStore:
    """A directory that every hypervisor has for itself: same path, contents of its own."""

    kind: ClassVar[StoreKind] = StoreKind.LOCAL
    name: str
    path: PurePosixPath


Store = DirectoryStore | NbdStore | IscsiStore | LocalStore


@dataclass(frozen=True)
class ServiceNetwork:
    """Addresses that guests may take on the service network. All lie in one network."""

    addresses: tuple[IPAddress, ...]
    prefix: int
    gateway: IPAddress | None = None

    @property
    def network(self) -> IPv4Network | IPv6Network:
        return ip_network(f"{self.addresses[0]}/{self.prefix}", strict=False)


@dataclass(frozen=True)
class Setting:
    """A value in force and where it came from.

    scope   ``all``, or a host's name
    origin  ``FILE:LINE``, ``environment NAME``, ``command line`` or ``default``
    """

    scope: str
    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Inventory:
    """Everything that the suite may touch. Host names are unique.

    pairs  those that are judged
    twins  pairs of a lab that take a share of the tests of one of `pairs`
    """

    hosts: Mapping[str, Host]
    pairs: tuple[Pair, ...]
    twins: tuple[Pair, ...] = ()
    stores: tuple[Store, ...] = ()
    client: Host | None = None
    service_network: ServiceNetwork | None = None
    tier: Tier = Tier.REAL
    acceleration: Acceleration = Acceleration.AUTO
    guest_cpu: str | None = None
    expected_acceleration: Acceleration | None = None
    file: Path | None = None
    settings: tuple[Setting, ...] = field(default=(), compare=False)

    def host(self, name: str) -> Host:
        """The host called `name`. Raises `UsageError` naming those that there are."""
        if name not in self.hosts:
            raise UsageError(
                f"no host {name!r} in the inventory", remedy=f"hosts: {', '.join(self.hosts)}"
            )
        return self.hosts[name]

    def pair(self, pair_id: str) -> Pair:
        """The pair whose id is `pair_id`. Raises `UsageError` naming those that there are."""
        for pair in self.pairs:
            if pair.id == pair_id:
                return pair
        raise UsageError(
            f"no pair {pair_id!r} in the inventory",
            remedy=f"pairs: {', '.join(pair.id for pair in self.pairs)}",
        )

    @property
    def lanes(self) -> tuple[Pair, ...]:
        """Every pair that tests run on, twins included; a worker has one of them for itself."""
        return (*self.pairs, *self.twins)

    def lanes_of(self, pair: Pair) -> tuple[Pair, ...]:
        """The pair itself and its twins."""
        return (pair, *(twin for twin in self.twins if twin.twin_of == pair.id))

    def with_role(self, role: Role) -> Iterator[Host]:
        return (host for host in self.hosts.values() if role in host.roles)

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the hosts that serve a store, sorted."""
        served = (one for one in self.stores if isinstance(one, NbdStore | IscsiStore))
        return tuple(sorted({one.server for one in served}))

    def store(self, kind: StoreKind) -> Store:
        """The first store of `kind`. Raises `UsageError` when the inventory lists none."""
        for store in self.stores:
            if store.kind == kind:
                return store
        raise UsageError(
            f"the inventory lists no {kind} store",
            remedy=f"add one with `kind: {kind}` to migqual_stores in all.vars",
        )
