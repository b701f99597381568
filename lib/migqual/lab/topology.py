"""What a lab consists of, as read from `fixtures/labs/*.yml`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from migqual import places
from migqual.errors import Fault, InventoryError, UsageError
from migqual.model.yamlfile import load

# A name becomes part of network interface names, which the kernel cuts at 15 characters.
HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,8}")
LAB_NAME = re.compile(r"^[a-z][a-z0-9]{0,11}$")

HYPERVISOR_PACKAGES = (
    "dbus",
    "iproute2",
    "libvirt-clients",
    "libvirt-daemon-system",
    "netcat-openbsd",
    "nftables",
    "openssh-server",
    "ovmf",
    "procps",
    "qemu-block-extra",
    "qemu-system-x86",
    "qemu-utils",
    "seabios",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)
APPLIANCE_PACKAGES = (
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


def _host_name(name: str) -> str:
    if not HOST_NAME.fullmatch(name):
        raise ValueError("names of hosts are a small letter and up to 8 small letters or digits")
    return name


HostName = Annotated[str, AfterValidator(_host_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Role(StrEnum):
    HYPERVISOR = "hypervisor"
    STORAGE = "storage"
    CLIENT = "client"

    @property
    def packages(self) -> tuple[str, ...]:
        return HYPERVISOR_PACKAGES if self is Role.HYPERVISOR else APPLIANCE_PACKAGES


class Bind(_Strict):
    """A folder or device of the machine that a host sees."""

    source: Path
    target: Path | None = None
    read_only: bool = False


class LabHost(_Strict):
    role: Role = Role.HYPERVISOR
    release: str = "bookworm"
    packages: tuple[str, ...] = Field(default=(), description="added to those of the role")
    rootfs: Path | None = Field(default=None, description="a ready root tree, used instead")
    emulator: str | None = None
    binds: tuple[Bind, ...] = ()
    cpu: str | None = Field(default=None, description="vCPU model of guests started here")


class Pairing(_Strict):
    source: HostName
    destination: HostName
    twin_of: str | None = Field(
        default=None, description="SOURCE-DESTINATION of the pair whose tests this one shares"
    )

    @property
    def id(self) -> str:
        return f"{self.source}-{self.destination}"


class Link(_Strict):
    """One of the three networks, as each host's port to it is shaped."""

    rate_mbit: Annotated[int, Field(gt=0)] | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None


class Links(_Strict):
    management: Link = Link()
    migration: Link = Link()
    service: Link = Link()


class Topology(_Strict):
    """A whole lab. Every pair names two hypervisors; one client, at most one storage host."""

    hosts: dict[HostName, LabHost]
    pairs: tuple[Pairing, ...] = Field(min_length=1)
    links: Links = Links()
    acceleration: Literal["auto", "kvm", "tcg"] = "auto"
    cpu: str = Field(default="qemu64", description="vCPU model of guests where a host names none")

    @model_validator(mode="after")
    def _consistent(self) -> "Topology":
        faults = [
            f"pair {pair.source}-{pair.destination}: needs two hosts"
            for pair in self.pairs
            if pair.source == pair.destination
        ]
        paired = (name for pair in self.pairs for name in (pair.source, pair.destination))
        faults += [
            f"pair names {name}, which is no hypervisor of this topology"
            for name in dict.fromkeys(paired)
            if name not in self.of_role(Role.HYPERVISOR)
        ]
        judged = {pair.id for pair in self.pairs if pair.twin_of is None}
        faults += [
            f"pair {pair.id}: twin of {pair.twin_of}, which is no pair of this topology"
            for pair in self.pairs
            if pair.twin_of is not None and pair.twin_of not in judged
        ]
        if len(self.of_role(Role.CLIENT)) != 1:
            faults.append("exactly one host must have the role client: it measures gaps")
        if len(self.of_role(Role.STORAGE)) > 1:
            faults.append("at most one host may have the role storage")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def of_role(self, role: Role) -> tuple[str, ...]:
        return tuple(name for name, host in self.hosts.items() if host.role is role)


def find(name_or_path: str) -> Path:
    """The file of a topology given by name (``default``) or by path."""
    shipped = places.FIXTURES / "labs"
    if Path(name_or_path).suffix in {".yml", ".yaml"}:
        return Path(name_or_path)
    file = shipped / f"{name_or_path}.yml"
    if not file.exists():
        names = ", ".join(sorted(path.stem for path in shipped.glob("*.yml")))
        raise UsageError(f"no topology named {name_or_path!r}", remedy=f"there are: {names}")
    return file


def read(name_or_path: str) -> Topology:
    """Read and check a topology. Raises `InventoryError` with every fault and its place; root trees
    are looked for once all else is right."""
    file = find(name_or_path)
    found = load(file, Topology)
    faults = [
        Fault(f"hosts.{name}.rootfs", f"{host.rootfs} is no root tree: it has no folder usr")
        for name, host in found.hosts.items()
        if host.rootfs is not None and not (host.rootfs / "usr").is_dir()
    ]
    if faults:
        raise InventoryError(str(file), faults)
    return found


def add_twins(topology: Topology, lanes: int) -> Topology:
    """Add copies of the pairs, in turn, until there are `lanes` pairs in all.

    The hosts of a copy are built like those of its pair; a host that several pairs share is copied
    with each. A topology that has as many pairs already is returned as it is.
    """
    judged = [pair for pair in topology.pairs if pair.twin_of is None]
    hosts, pairs = dict(topology.hosts), list(topology.pairs)
    for number in range(lanes - len(pairs)):
        pair = judged[number % len(judged)]
        source, destination = (f"{name[:6]}x{number}" for name in (pair.source, pair.destination))
        hosts |= {source: hosts[pair.source], destination: hosts[pair.destination]}
        pairs.append(Pairing(source=source, destination=destination, twin_of=pair.id))
    return topology.model_copy(update={"hosts": hosts, "pairs": tuple(pairs)})
