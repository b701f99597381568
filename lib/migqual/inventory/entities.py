"""Entities of an inventory: hosts, pairs, the client and the service network.

`migqual.inventory.file` builds the entities from a YAML file, after all checks: named hosts
exist, paths are absolute, addresses are valid.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from migqual.architecture import Architecture
from migqual.errors import UsageError
from migqual.inventory.stores import IscsiStore, NbdStore, Store, StoreKind

if TYPE_CHECKING:
    from migqual.inventory.guest_size import GuestSize

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
    """Connection from the controller to libvirt of a host: over SSH or over TLS."""

    SSH = "ssh"
    TLS = "tls"


class Tier(StrEnum):
    """Kind of the hosts: hosts of a lab, or real machines. Each report prints the tier."""

    LAB = "lab"
    REAL = "real"


class Acceleration(StrEnum):
    """Acceleration of guests: KVM, TCG, or an automatic choice."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class CertificateSource(StrEnum):
    """Source of the certificates for encrypted migrations.

    Attributes:
        ISSUED: migqual issues certificates, and restores the original certificates afterwards.
        OWN: migqual uses the certificates that the host already has.
    """

    ISSUED = "issued"
    OWN = "own"


def format_uri_host(address: str) -> str:
    """Format `address` for a URI. An IPv6 address gets brackets. Other text stays unchanged."""
    try:
        return f"[{address}]" if ip_address(address).version == 6 else address
    except ValueError:
        return address


def hide_arguments(command: str) -> str:
    """Return the program of a command and ``...`` for its arguments, which may be secret."""
    program, *arguments = shlex.split(command) or [""]
    return f"{program} ..." if arguments else program


@dataclass(frozen=True)
class HostEntry:
    """A host of the inventory, with the SSH access for migqual and the settings for guests.

    Attributes:
        address: Name or IP address that the controller uses.
        migration_address: Address that the peer uses for libvirt and for guest memory. Empty
            means `address`.
        key: Private SSH key. None leaves the choice to the SSH agent or to `ssh_config`.
        jump_hosts: SSH jump hosts, ``[user@]host[:port]``, outermost first.
        become: True if migqual runs each command as root with ``sudo``.
        service_bridge: Bridge that connects guests to the service network. Empty means no bridge.
        scratch: Directory on the host that only migqual writes to.
        emulator: Path of QEMU. None means libvirt's default.
        guest_architecture: Architecture of the guests. None means the architecture of the host.
        peer_uri_template: libvirt URI that the peer uses for the host, with placeholders such as
            ``{address}``.
        is_exclusive: True if nobody else uses the host during a run, so that migqual may restart
            libvirt's daemon.
        power_command: Command that the controller runs to switch the host off and on, with the
            placeholders ``{action}`` (``off`` or ``on``), ``{name}`` and ``{address}``. Empty
            means that migqual cannot switch the host off.
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
    guest_architecture: Architecture | None = None
    peer_uri_template: str = DEFAULT_PEER_URI
    roles: frozenset[HostRole] = frozenset()
    certificate_source: CertificateSource = CertificateSource.ISSUED
    is_exclusive: bool = False
    power_command: str = ""

    @property
    def migration_endpoint(self) -> str:
        """Return the address for migrations to the host, `migration_address` or else `address`."""
        return self.migration_address or self.address

    @property
    def peer_uri(self) -> str:
        """Return the libvirt URI with which the peer connects to the host.

        The default URI contains the user if the user is not root, and the port of the SSH server
        if the port is not 22.
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
    """A pair of a source host and a destination host.

    Attributes:
        replica_of: Id of the original pair of a replica. Empty means that the pair is no replica.
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
        """Return the pair for the opposite direction, from destination to source."""
        return PairEntry(self.destination, self.source, self.replica_of)

    def shares_host_with(self, other: "PairEntry") -> bool:
        """Return whether the pair and the pair `other` have a host in common."""
        names = {self.source.name, self.destination.name}
        return bool(names & {other.source.name, other.destination.name})


@dataclass(frozen=True)
class ServiceNetwork:
    """Addresses for guests on the network between client and guests, all in the same subnet."""

    addresses: tuple[IPAddress, ...]
    prefix: int
    gateway: IPAddress | None = None

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """Return the subnet of the guest addresses, for example ``10.0.0.0/24``."""
        return ip_network(f"{self.addresses[0]}/{self.prefix}", strict=False)


@dataclass(frozen=True)
class EffectiveVariable:
    """A variable of the inventory with the value in force and the origin of the value.

    Attributes:
        scope: Where the variable is in force: ``all``, or the name of a host.
        origin: ``FILE:LINE``, ``environment NAME``, ``command line`` or ``default``.
    """

    scope: str
    name: str
    value: str
    origin: str


@dataclass(frozen=True)
class Inventory:
    """The hosts, pairs, stores (places for disk images) and networks of an inventory file.

    Attributes:
        hosts: The hosts by name.
        pairs: The pairs that get a verdict.
        replicas: Additional lab pairs. Each replica runs a share of the tests of a pair in
            `pairs`.
        guest_architecture: Architecture of the guests. None means the architecture of the hosts.
        guest_cpu: CPU model of guests. None leaves the choice to migqual.
        expected_acceleration: Acceleration that a run must use. None permits KVM and TCG.
        guests: Sizes of the guests that the users run. A run must test each size.
    """

    hosts: Mapping[str, HostEntry]
    pairs: tuple[PairEntry, ...]
    replicas: tuple[PairEntry, ...] = ()
    stores: tuple[Store, ...] = ()
    client: HostEntry | None = None
    service_network: ServiceNetwork | None = None
    tier: Tier = Tier.REAL
    acceleration: Acceleration = Acceleration.AUTO
    guest_architecture: Architecture | None = None
    guest_cpu: str | None = None
    expected_acceleration: Acceleration | None = None
    guests: "tuple[GuestSize, ...]" = ()
    file: Path | None = None
    effective_variables: tuple[EffectiveVariable, ...] = field(default=(), compare=False)

    def find_host(self, name: str) -> HostEntry:
        """Find the host with the name `name`.

        Raises:
            UsageError: The inventory has no such host. The remedy lists the host names.
        """
        if name not in self.hosts:
            raise UsageError(
                f"no host {name!r} in the inventory",
                remedy=f"use one of the hosts {', '.join(self.hosts)}",
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
            remedy=f"use one of the pairs {', '.join(pair.id for pair in self.pairs)}",
        )

    @property
    def lanes(self) -> tuple[PairEntry, ...]:
        """Return all lanes for parallel tests: the pairs and replicas (additional lab pairs)."""
        return (*self.pairs, *self.replicas)

    def list_pair_lanes(self, pair: PairEntry) -> tuple[PairEntry, ...]:
        """List the lanes of `pair`, which are the pair and all replicas of the pair."""
        return (pair, *(replica for replica in self.replicas if replica.replica_of == pair.id))

    def list_lane_host_names(self, host_name: str) -> list[str]:
        """List the name of a host and the names of the host's peers in all lanes.

        A lane is a pair or a replica (an additional lab pair), and the peer is the other host of
        the lane. A guest of the host may migrate to each peer and back.
        """
        host_names = {host_name: None}
        for lane in self.lanes:
            if host_name in {lane.source.name, lane.destination.name}:
                host_names |= {lane.source.name: None, lane.destination.name: None}
        return list(host_names)

    def list_hosts_with_role(self, role: HostRole) -> Iterator[HostEntry]:
        """List the hosts with `role`, in the order of the inventory."""
        return (host for host in self.hosts.values() if role in host.roles)

    @property
    def store_servers(self) -> tuple[str, ...]:
        """Return the sorted names of the hosts that serve disk images over NBD or iSCSI."""
        served_stores = (store for store in self.stores if isinstance(store, NbdStore | IscsiStore))
        return tuple(sorted({one.server for one in served_stores}))

    def find_store(self, kind: StoreKind) -> Store:
        """Find the first store (place for disk images) of `kind`.

        Raises:
            UsageError: The inventory has no store of `kind`.
        """
        for store in self.stores:
            if store.kind == kind:
                return store
        raise UsageError(
            f"the inventory lists no store of the kind {kind}",
            remedy=f"add a store with `kind: {kind}` to migqual_stores in all.vars",
        )
