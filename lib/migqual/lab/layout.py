"""Pure: from a topology and a name to addresses, namespaces, folders. Acts on nothing."""

import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from migqual import places
from migqual.errors import UsageError
from migqual.lab.topology import LAB_NAME, LabHost, Link, Role, Topology

# Private to the lab's namespaces; two labs may use the same ones side by side.
NETWORKS = {"mgmt": "10.77.1", "mig": "10.77.2", "svc": "10.77.3"}
CONTROLLER = "ctl"
FABRIC = "net"
GUEST_ADDRESSES = f"{NETWORKS['svc']}.100-{NETWORKS['svc']}.199"
SHARED = Path("/srv/migqual/shared")
EXPORTS = Path("/srv/migqual/exports")
SCRATCH = Path("/var/lib/migqual")
ISCSI_TARGET = "iqn.2026-01.lab.migqual:store"


@dataclass(frozen=True)
class HostLayout:
    """One host of a lab: where it lies and what it is called everywhere."""

    name: str
    number: int
    spec: LabHost
    namespace: str
    folder: Path
    lab: str

    @property
    def machine(self) -> str:
        return f"mq-{self.lab}-{self.name}"

    @property
    def upper(self) -> Path:
        """The throw-away layer that the host writes to."""
        return self.folder / "upper"

    @property
    def merged(self) -> Path:
        return self.folder / "root"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def cgroup(self) -> str:
        return f"migqual/{self.lab}/{self.name}"

    @cached_property
    def uuid(self) -> uuid.UUID:
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.{self.lab}.migqual")

    def address(self, network: str) -> str:
        return f"{NETWORKS[network]}.{self.number}"

    @property
    def addresses(self) -> dict[str, str]:
        """Interface to address. On the service network a hypervisor only has a bridge."""
        if self.spec.role is Role.HYPERVISOR:
            return {"mgmt": self.address("mgmt"), "mig": self.address("mig")}
        if self.spec.role is Role.STORAGE:
            return {"mgmt": self.address("mgmt"), "mig": self.address("mig")}
        return {"mgmt": self.address("mgmt"), "svc": self.address("svc")}


@dataclass(frozen=True)
class LabLayout:
    """A whole lab."""

    name: str
    topology: Topology

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def folder(self) -> Path:
        return places.labs() / self.name

    @property
    def bulk(self) -> Path:
        """What the hosts write: beside the root trees, since `/run` is small on many machines."""
        return bulk(self.name)

    @property
    def shared(self) -> Path:
        """The folder that all hypervisors of the lab share."""
        return self.bulk / "shared"

    @property
    def exports(self) -> Path:
        """The folder that the storage host serves."""
        return self.bulk / "exports"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    @property
    def key(self) -> Path:
        return self.folder / "keys" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "keys" / "known_hosts"

    @property
    def fabric(self) -> str:
        return namespace(self.name, FABRIC)

    @property
    def controller(self) -> str:
        return namespace(self.name, CONTROLLER)

    @cached_property
    def hosts(self) -> tuple[HostLayout, ...]:
        return tuple(
            HostLayout(
                name=name,
                number=number,
                spec=spec,
                namespace=namespace(self.name, name),
                folder=self.bulk / "hosts" / name,
                lab=self.name,
            )
            for number, (name, spec) in enumerate(self.topology.hosts.items(), start=11)
        )

    def host(self, name: str) -> HostLayout:
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise UsageError(f"no host {name!r} in lab {self.name!r}", remedy=f"there are: {known}")

    def link(self, network: str) -> Link:
        links = self.topology.links
        return {"mgmt": links.management, "mig": links.migration, "svc": links.service}[network]


def namespace(lab: str, host: str) -> str:
    """The network namespace of a host; its prefix `mq-LAB.` belongs to the lab alone."""
    return f"mq-{lab}.{host}"


def bulk(lab: str) -> Path:
    return places.cache() / "labs" / lab


def check_name(name: str) -> None:
    if not LAB_NAME.match(name):
        raise UsageError(
            f"{name!r} cannot be the name of a lab",
            remedy="use up to 12 lower-case letters and digits, a letter first",
        )
