"""Entities of an inventory: hosts, pairs, stores, the client and the service network.

`migqual.inventory.file` builds the entities from a YAML file. All values are already checked:
names resolve, paths are absolute, addresses are valid.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import ClassVar

from migqual.errors import UsageError

IPAddress = IPv4Address | IPv6Address

DEFAULT_SCRATCH_FOLDER = PurePosixPath("/var/lib/migqual")
SAVED_STATES_FOLDER = (
    "states"  # folder in the scratch directory where saved states of guests may stay
)
DEFAULT_SSH_PORT = 22
DEFAULT_USER = "root"
DEFAULT_PEER_URI = "qemu+ssh://{address}/system"


class HostRole(StrEnum):
    """Role of a host, given by the host's group in the inventory."""

    HYPERVISOR = "hypervisor"
    STORAGE = "storage"
    CLIENT = "client"

    @property
    def group(self) -> str:
        """Return the name of the inventory group for the role."""
        return {
            HostRole.HYPERVISOR: "hypervisors",
            HostRole.STORAGE: "storage",
            HostRole.CLIENT: "clients",
        }[self]


class Transport(StrEnum):
    """Transport from the controller to libvirt."""

    SSH = "ssh"
    TLS = "tls"


class Tier(StrEnum):
    """Origin of the hosts, embedded lab or real machines. The tier limits a verdict's use."""

    LAB = "lab"
    REAL = "real"


class Acceleration(StrEnum):
    """Acceleration of guests: KVM, TCG, or an automatic choice."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class StoreKind(StrEnum):
    """Kind of a store for disk images."""

    DIRECTORY = "directory"
    NBD = "nbd"
    ISCSI = "iscsi"
    LOCAL = "local"


class CertificateSource(StrEnum):
    """Source of the certificates for encrypted migrations.

    Attributes:
        ISSUED: The suite issues the certificates for the duration of a run.
        OWN: The host already has certificates.
    """

    ISSUED = "issued"
    OWN = "own"


def format_uri_host(address: str) -> str:
    """Format `address` for a URI: brackets around IPv6; a host name stays unchanged."""
    try:
        return f"[{address}]" if ip_address(address).version == 6 else address
    except ValueError:
        return address


@dataclass(frozen=True)
class HostEntry:
    """A machine: an address for SSH, and the resources for the suite.

    Attributes:
        address: Name or IP address for connections from the controller.
        migration_address: Address for libvirt and for guest memory, used by the peer.
        key: Private key; None leaves the choice to the agent or to `ssh_config`.
        jump_hosts: ``[user@]host[:port]``, outermost first.
        become: Whether `user` becomes root for each command, by ``sudo``.
        service_bridge: Bridge for the service interfaces of guests; empty when not a
            hypervisor.
        scratch: Directory on the host for the suite only.
        emulator: Path of QEMU; None takes libvirt's default.
        peer_uri_template: libvirt URI of the host for the peer, with placeholders.
        certificate_source: Source of the certificates for encrypted migrations.
    """

    name: str
    address: str
    known_hosts: Path
    port: int = 22
    user: str = DEFAULT_USER
    key: Path | None = None
    ssh_config: Path | None = None
    jump_hosts: tuple[str, ...] = ()
    become: bool = False
    uri_transport: Transport = Transport.SSH
    migration_address: str = ""
    service_bridge: str = ""
    scratch: PurePosixPath = DEFAULT_SCRATCH_FOLDER
    emulator: str | None = None
    peer_uri_template: str = DEFAULT_PEER_URI
    roles: frozenset[HostRole] = frozenset()
    certificate_source: CertificateSource = CertificateSource.ISSUED

    @property
    def migration_endpoint(self) -> str:
        """Return the address for migrations to the host: the migration address, if any."""
        return self.migration_address or self.address

    @property
    def peer_uri(self) -> str:
        """Return the libvirt URI of the host for the peer in a pair.

        The default URI contains the user unless the user is root, and the port of the SSH
        server unless the port is 22.
        """
        template = self.peer_uri_template
        if template == DEFAULT_PEER_URI:
            user = "" if self.user == DEFAULT_USER else "{user}@"
            port = "" if self.port == DEFAULT_SSH_PORT else ":{port}"
            template = template.replace("{address}", f"{user}{{address}}{port}")
        return template.format(
            address=format_uri_host(self.migration_endpoint),
            host=format_uri_host(self.address),
            name=self.name,
            user=self.user,
            port=self.port,
        )


@dataclass(frozen=True)
class PairEntry:
    """A source host and a destination host.

    Attributes:
        replica_of: Id of the original pair. A replica has the same hosts, built a second time.
            Empty for an original pair.
    """

    source: HostEntry
    destination: HostEntry
    replica_of: str = ""

    @property
    def id(self) -> str:
        """Return the pair id, ``SOURCE-DESTINATION``."""
        return f"{self.source.name}-{self.destination.name}"

    @property
    def reverse(self) -> "PairEntry":
        """Return the pair in the opposite direction."""
        return PairEntry(self.destination, self.source, self.replica_of)

    def shares_host_with(self, other: "PairEntry") -> bool:
        """Return whether a host belongs to both pairs."""
        names = {self.source.name, self.destination.name}
        return bool(names & {other.source.name, other.destination.name})


@dataclass(frozen=True)
class DirectoryStore:
    """A directory with the same path and content on all of `hosts` (host names)."""

    kind: ClassVar[StoreKind] = StoreKind.DIRECTORY
    name: str
    path: PurePosixPath
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class NbdStore:
    """Disks in `directory` on the host `server`, served by NBD with a port for each disk."""

    kind: ClassVar[StoreKind] = StoreKind.NBD
    name: str
    server: str
    address: str
    directory: PurePosixPath
    ports: range = range(10809, 10900)


@dataclass(frozen=True)
class IscsiStore:
    """Disks in `directory` on the host `server`, served by iSCSI as LUNs of `target`."""

    kind: ClassVar[StoreKind] = StoreKind.ISCSI
    name: str
    server: str
    address: str
    target: str
    directory: PurePosixPath
    port: int = 3260


@dataclass(frozen=True)
class LocalStore:
    """A directory with the same path on every hypervisor, but with separate content."""

    kind: ClassVar[StoreKind] = StoreKind.LOCAL
    name: str
    path: PurePosixPath


Store = DirectoryStore | NbdStore | IscsiStore | LocalStore


@dataclass(frozen=True)
class ServiceNetwork:
    """Addresses for guests on the service network. All addresses lie in the same network."""

    addresses: tuple[IPAddress, ...]
    prefix: int
    gateway: IPAddress | None = None

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """Return the network of the addresses."""
        return ip_network(f"{self.addresses[0]}/{self.prefix}", strict=False)


@dataclass(frozen=True)
class EffectiveVariable:
    """The effective value of a variable, and the origin of the value.

    Attributes:
        scope: ``all``, or the name of a host.
        origin: ``FILE:LINE``, ``environment NAME``, ``command line`` or ``default``.
    """

    scope: str
    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Inventory:
    """All resources for the suite. Host names are unique.

    Attributes:
        pairs: Pairs with a verdict.
        replicas: Pairs of a lab for a share of the tests of an original pair in `pairs`.
    """

    hosts: Mapping[str, HostEntry]
    pairs: tuple[PairEntry, ...]
    replicas: tuple[PairEntry, ...] = ()
    stores: tuple[Store, ...] = ()
    client: HostEntry | None = None
    service_network: ServiceNetwork | None = None
    tier: Tier = Tier.REAL
    acceleration: Acceleration = Acceleration.AUTO
    guest_cpu: str | None = None
    expected_acceleration: Acceleration | None = None
    file: Path | None = None
    effective_variables: tuple[EffectiveVariable, ...] = field(default=(), compare=False)

    def find_host(self, name: str) -> HostEntry:
        """Find the host with the name `name`.

        Raises:
            UsageError: The inventory has no such host. The remedy lists the host names.
        """
        if name not in self.hosts:
            raise UsageError(
                f"no host {name!r} in the inventory", remedy=f"hosts: {', '.join(self.hosts)}"
            )
        return self.hosts[name]

    def find_pair(self, pair_id: str) -> PairEntry:
        """Find the pair with the id `pair_id`.

        Raises:
            UsageError: The inventory has no such pair. The remedy lists the pair ids.
        """
        for pair in self.pairs:
            if pair.id == pair_id:
                return pair
        raise UsageError(
            f"no pair {pair_id!r} in the inventory",
            remedy=f"pairs: {', '.join(pair.id for pair in self.pairs)}",
        )

    @property
    def lanes(self) -> tuple[PairEntry, ...]:
        """Return all pairs for tests, replicas included. Each worker has a separate lane."""
        return (*self.pairs, *self.replicas)

    def list_pair_lanes(self, pair: PairEntry) -> tuple[PairEntry, ...]:
        """List `pair` and the replicas of `pair`."""
        return (pair, *(replica for replica in self.replicas if replica.replica_of == pair.id))

    def list_hosts_with_role(self, role: HostRole) -> Iterator[HostEntry]:
        """List the hosts with `role`, in the order of the inventory."""
        return (host for host in self.hosts.values() if role in host.roles)

    @property
    def store_servers(self) -> tuple[str, ...]:
        """Return the names of the hosts with an NBD or iSCSI store, sorted."""
        served_stores = (store for store in self.stores if isinstance(store, NbdStore | IscsiStore))
        return tuple(sorted({one.server for one in served_stores}))

    def find_store(self, kind: StoreKind) -> Store:
        """Find the first store of `kind`.

        Raises:
            UsageError: The inventory has no store of `kind`.
        """
        for store in self.stores:
            if store.kind == kind:
                return store
        raise UsageError(
            f"the inventory lists no {kind} store",
            remedy=f"add one with `kind: {kind}` to migqual_stores in all.vars",
        )
