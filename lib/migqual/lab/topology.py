"""Define the topology of a lab (hosts, pairs, links), and load topology files.

An example of a topology file is `fixtures/labs/default.yml`.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from migqual import paths
from migqual.architecture import Architecture, get_machine_architecture
from migqual.errors import InputProblem, InventoryError, UsageError
from migqual.inventory.entities import Acceleration, Tier
from migqual.lab.quirks import HostQuirks
from migqual.lab.topology_types import AbsolutePath, HostName
from migqual.yaml_file import StrictModel, load_yaml_model

LAB_NAME_PATTERN = re.compile(r"^[a-z][a-z0-9]{0,11}$")

HYPERVISOR_PACKAGES = (
    "dbus",
    "iproute2",
    "libvirt-clients",
    "libvirt-daemon-system",
    "netcat-openbsd",
    "nftables",
    "openssh-client",
    "openssh-server",
    "procps",
    "qemu-block-extra",
    "qemu-utils",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)
SUPPORT_HOST_PACKAGES = (
    "dbus",
    "iproute2",
    "netcat-openbsd",
    "openssh-server",
    "procps",
    "qemu-utils",
    "systemd",
    "systemd-sysv",
    "tcpdump",
    "tgt",
)


class LabRole(StrEnum):
    """The role of a host in a lab."""

    HYPERVISOR = "hypervisor"
    STORAGE = "storage"
    CLIENT = "client"

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the names of the Debian packages that a host with the role needs.

        A hypervisor also needs the packages with QEMU for the guests' architecture.
        """
        return HYPERVISOR_PACKAGES if self is LabRole.HYPERVISOR else SUPPORT_HOST_PACKAGES


class Network(StrEnum):
    """A lab network for which a topology can select IPv6 addresses."""

    MIGRATION = "migration"
    SERVICE = "service"


class BindMount(StrictModel):
    """A folder or device of the machine, bind-mounted into a lab host.

    Attributes:
        source: Path on the machine.
        target: Path in the host. None means the same path as on the machine.
        read_only: Whether the host cannot write below the path.
    """

    source: Path
    target: Path | None = None
    read_only: bool = False


class LabHost(StrictModel):
    """The description of a lab host in the topology.

    Attributes:
        role: Role of the host.
        release: Debian release of the rootfs.
        packages: Debian packages in addition to the packages of the role.
        rootfs: Path of an existing root file system. With None, migqual builds the root file
            system.
        emulator: Path of QEMU in the host. None means the default path of libvirt.
        qemu_prefix: Installation prefix of a QEMU on the machine. The folder is mounted in the
            host, and guests use this QEMU instead of the QEMU of the host.
        binds: Folders and devices of the machine that the host can use.
        quirks: Properties of real hosts that the host imitates.
    """

    role: LabRole = LabRole.HYPERVISOR
    release: str = "bookworm"
    packages: tuple[str, ...] = Field(
        default=(), description="Debian packages in addition to the packages of the host's role"
    )
    rootfs: Path | None = Field(
        default=None, description="path of an existing root file system for the host"
    )
    emulator: str | None = None
    qemu_prefix: AbsolutePath | None = None
    binds: tuple[BindMount, ...] = ()
    quirks: HostQuirks = HostQuirks()

    def find_emulator(self, guest: Architecture) -> str | None:
        """Return the path, in the host, of the QEMU for guests of the architecture `guest`.

        None means the default path of libvirt. The topology then sets neither `qemu_prefix` nor
        `emulator`.
        """
        if self.qemu_prefix is None:
            return self.emulator
        return str(self.qemu_prefix / f"bin/qemu-system-{guest}")


class LabPair(StrictModel):
    """A pair of hosts for migrations.

    Attributes:
        source: Name of the source host.
        destination: Name of the destination host.
        replica_of: Id of the original pair, if the pair is a replica. A replica runs a share of
            the tests of the original pair.
    """

    source: HostName
    destination: HostName
    replica_of: str | None = Field(
        default=None,
        description="id of the original pair; this pair is then a replica of the original pair, "
        "and runs a share of its tests",
    )

    @property
    def id(self) -> str:
        """Return the id of the pair: `SOURCE-DESTINATION`."""
        return f"{self.source}-{self.destination}"


class Link(StrictModel):
    """The rate limit and the latency of each host's link to a network.

    Attributes:
        rate_mbit: Maximum rate in Mbit/s at which a host sends. None means no limit.
        latency_ms: Delay in ms of each packet that a host sends. None means no delay.
    """

    rate_mbit: Annotated[int, Field(gt=0)] | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None


class Links(StrictModel):
    """The rate limits and latencies of the three networks of a lab."""

    management: Link = Link()
    migration: Link = Link()
    service: Link = Link()


class Topology(StrictModel):
    """The topology of a lab: hosts, pairs and networks.

    Every pair names two hypervisors. A lab has exactly one client and at most one storage host.

    Attributes:
        hosts: Hosts by name.
        pairs: Pairs of hosts. At least one pair is necessary. A pair can be a replica (an
            additional pair that runs a share of the tests of another pair).
        links: Rate limits and latencies of the three networks.
        ipv6_networks: Networks with IPv6 addresses instead of IPv4 addresses.
        acceleration: Accelerator of the guests. `AUTO` selects KVM if a test guest boots with
            KVM, else TCG.
        guest: Architecture of the guests. None means the architecture of the machine.
        cpu: vCPU model of all guests. None means ``qemu64`` on x86_64, else migqual's choice.
        tier: Kind of the hosts in the inventory file of the lab, `LAB` or `REAL`. With `REAL`, a
            run treats the lab hosts as real hosts, for example in the choice of the profile.
        exclusive: Whether the inventory file says that nobody else uses the hosts.
    """

    hosts: dict[HostName, LabHost]
    pairs: tuple[LabPair, ...] = Field(min_length=1)
    links: Links = Links()
    ipv6_networks: frozenset[Network] = frozenset()
    acceleration: Acceleration = Acceleration.AUTO
    tier: Tier = Tier.LAB
    exclusive: bool = False
    guest: Architecture | None = None
    cpu: str | None = Field(default=None, description="vCPU model of all guests")

    @model_validator(mode="after")
    def _check_consistency(self) -> "Topology":
        faults = [
            f"pair {pair.id}: source and destination must be different hosts"
            for pair in self.pairs
            if pair.source == pair.destination
        ]
        pair_hosts = (name for pair in self.pairs for name in (pair.source, pair.destination))
        faults += [
            f"a pair names {name}, which is not a hypervisor of this topology"
            for name in dict.fromkeys(pair_hosts)
            if name not in self.list_hosts(LabRole.HYPERVISOR)
        ]
        original_pair_ids = {pair.id for pair in self.pairs if pair.replica_of is None}
        faults += [
            f"pair {pair.id} is a replica of {pair.replica_of}, which is not a pair of this "
            "topology, or is itself a replica"
            for pair in self.pairs
            if pair.replica_of is not None and pair.replica_of not in original_pair_ids
        ]
        faults += [
            f"host {name}: jump_host {host.quirks.jump_host} is not a host of this topology, or "
            f"{host.quirks.jump_host} has a jump_host itself"
            for name, host in self.hosts.items()
            if host.quirks.jump_host is not None and not self._is_direct(host.quirks.jump_host)
        ]
        if len(self.list_hosts(LabRole.CLIENT)) != 1:
            faults.append("exactly one host must have the role client, which runs the gap meter")
        if len(self.list_hosts(LabRole.STORAGE)) > 1:
            faults.append("at most one host may have the role storage")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def guest_architecture(self) -> Architecture:
        """Return the architecture of the guests."""
        return self.guest or get_machine_architecture()

    @property
    def guest_cpu(self) -> str | None:
        """Return the vCPU model of all guests. None leaves the choice to migqual."""
        is_x86 = self.guest_architecture is Architecture.X86_64
        return self.cpu or ("qemu64" if is_x86 else None)

    def _is_direct(self, name: str) -> bool:
        """Return whether the controller reaches the host without a jump host."""
        return name in self.hosts and self.hosts[name].quirks.jump_host is None

    def list_hosts(self, role: LabRole) -> tuple[str, ...]:
        """List the names of all hosts with the role."""
        return tuple(name for name, host in self.hosts.items() if host.role is role)


def find_topology_file(name_or_path: str) -> Path:
    """Return the path of the topology file for a name or a path.

    Args:
        name_or_path: Name of a file in `fixtures/labs` (`default`), or a path with the suffix
            `.yml` or `.yaml`.

    Raises:
        UsageError: No topology has the name.
    """
    labs_folder = paths.FIXTURES / "labs"
    if Path(name_or_path).suffix in {".yml", ".yaml"}:
        return Path(name_or_path)
    file = labs_folder / f"{name_or_path}.yml"
    if not file.exists():
        names = ", ".join(sorted(path.stem for path in labs_folder.glob("*.yml")))
        raise UsageError(
            f"no topology named {name_or_path!r}",
            remedy=f"choose one of: {names}; or give the path of a .yml file",
        )
    return file


def load_topology(name_or_path: str) -> Topology:
    """Load a topology file and check the contents.

    The function checks the folders in `rootfs` and `qemu_prefix` only if the file has no other
    problem.

    Args:
        name_or_path: Name of a file in `fixtures/labs` (`default`), or a path with the suffix
            `.yml` or `.yaml`.

    Raises:
        InventoryError: The file cannot be read or has problems. The error lists all problems.
        UsageError: No topology has the name.
    """
    file = find_topology_file(name_or_path)
    topology = load_yaml_model(file, Topology)
    if faults := [
        fault
        for name, host in topology.hosts.items()
        for fault in _check_paths(name, host, topology.guest_architecture)
    ]:
        raise InventoryError(str(file), faults)
    return topology


def _check_paths(name: str, host: LabHost, guest: Architecture) -> Iterator[InputProblem]:
    """Yield a problem if `rootfs` has no folder `usr`, or if `qemu_prefix` contains no QEMU."""
    if host.rootfs is not None and not (host.rootfs / "usr").is_dir():
        yield InputProblem(
            f"hosts.{name}.rootfs",
            f"{host.rootfs} is not a root file system: the folder usr is missing",
        )
    emulator = Path(str(host.find_emulator(guest)))
    if host.qemu_prefix is not None and not emulator.is_file():
        yield InputProblem(
            f"hosts.{name}.qemu_prefix",
            f"{host.qemu_prefix} contains no QEMU: {emulator} is missing",
        )


def add_replicas(topology: Topology, lanes: int) -> Topology:
    """Add replicas to a topology until the topology has `lanes` pairs.

    A replica is an additional pair with two new hosts. The new hosts have the same descriptions as
    the hosts of an original pair. The replica runs a share of the tests of this original pair. The
    original pairs get replicas in turn.

    The function adds no replica if the topology already has enough pairs, or if the tier of the
    topology is `real`.

    Args:
        topology: The topology, which may already contain replicas.
        lanes: Minimum number of pairs, replicas included.

    Returns:
        The topology with the replicas.
    """
    if topology.tier is Tier.REAL:
        return topology
    original_pairs = [pair for pair in topology.pairs if pair.replica_of is None]
    hosts, pairs = dict(topology.hosts), list(topology.pairs)
    for number in range(lanes - len(pairs)):
        pair = original_pairs[number % len(original_pairs)]
        source, destination = (f"{name[:6]}x{number}" for name in (pair.source, pair.destination))
        hosts |= {source: hosts[pair.source], destination: hosts[pair.destination]}
        pairs.append(LabPair(source=source, destination=destination, replica_of=pair.id))
    return topology.model_copy(update={"hosts": hosts, "pairs": tuple(pairs)})
