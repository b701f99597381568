"""Compute the addresses, namespaces and folders of a lab from the lab's topology and name.

The module creates nothing on the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import NAMESPACE_DNS, UUID, uuid5

from migqual import paths
from migqual.errors import UsageError
from migqual.lab.topology import LAB_NAME_PATTERN, LabHost, LabRole, Link, Network, Topology

# The networks exist only in the namespaces of a lab. So two labs can use the same addresses.
NETWORK_PREFIXES = {"mgmt": "10.77.1.", "mig": "10.77.2.", "svc": "10.77.3."}
IPV6_PREFIXES = {"mig": "fd77:2::", "svc": "fd77:3::"}
IPV4_PREFIX_LENGTH, IPV6_PREFIX_LENGTH = 24, 64
CONTROLLER_NAME = "ctl"
BRIDGES_NAME = "net"
SHARED_FOLDER = Path("/srv/migqual/shared")
# With `shared_folder_type` in `quirks`, bindfs shows the backing folder as the shared folder.
SHARED_FOLDER_BACKING = Path("/srv/migqual/backing")
EXPORTS_FOLDER = Path("/srv/migqual/exports")
SCRATCH_FOLDER = Path("/var/lib/migqual")
_NETWORK_INTERFACES = {Network.MIGRATION: "mig", Network.SERVICE: "svc"}
ISCSI_TARGET = "iqn.2026-01.lab.migqual:store"


@dataclass(frozen=True)
class HostLayout:
    """Names, addresses and folders of a lab host.

    Attributes:
        name: Name of the host in the topology.
        number: Last number of every IP address of the host, 11 or more.
        spec: Description of the host in the topology.
        namespace: Name of the network namespace of the host.
        folder: Folder with the overlayfs layers and the console log of the host.
        lab_name: Name of the lab.
        prefixes: First part of the IP address in each network, for example `10.77.1.` for `mgmt`.
    """

    name: str
    number: int
    spec: LabHost
    namespace: str
    folder: Path
    lab_name: str
    prefixes: Mapping[str, str]

    @property
    def machine_name(self) -> str:
        """Return the machine name of the host for systemd-nspawn."""
        return f"mq-{self.lab_name}-{self.name}"

    @property
    def upper(self) -> Path:
        """Return the folder of the overlayfs upper layer, with all files that the host writes."""
        return self.folder / "upper"

    @property
    def power_file(self) -> Path:
        """Return the file that exists while `migqual lab power off` keeps the host off."""
        return self.folder / "powered-off"

    @property
    def merged(self) -> Path:
        """Return the mount point of the overlayfs, which is the root folder of the host."""
        return self.folder / "root"

    @property
    def console_log(self) -> Path:
        """Return the file with the console output of the host."""
        return self.folder / "console.log"

    @property
    def cgroup_name(self) -> str:
        """Return the path of the host's control group below the root of a cgroup hierarchy."""
        return f"migqual/{self.lab_name}/{self.name}"

    @cached_property
    def uuid(self) -> UUID:
        """Return the UUID of the host. The same host name and lab name give the same UUID."""
        return uuid5(NAMESPACE_DNS, f"{self.name}.{self.lab_name}.migqual")

    @property
    def libvirt_uuid(self) -> UUID:
        """Return the host UUID for libvirt. Without `host_uuid` in the topology, return `uuid`."""
        return self.spec.quirks.host_uuid or self.uuid

    def get_address(self, network: str) -> str:
        """Return the IPv4 or IPv6 address of the host in a network.

        Args:
            network: `mgmt` (management), `mig` (migration) or `svc` (service).
        """
        return f"{self.prefixes[network]}{self.number}"

    def get_prefix_length(self, network: str) -> int:
        """Return the prefix length of the network `mgmt`, `mig` or `svc`, in bits."""
        return get_prefix_length(self.prefixes[network])

    @property
    def jump_address(self) -> str:
        """Return ``USER@ADDRESS:PORT`` for SSH logins that use the host as a jump host."""
        quirks = self.spec.quirks
        return f"{quirks.login_user}@{self.get_address('mgmt')}:{quirks.ssh_port}"

    @property
    def addresses(self) -> dict[str, str]:
        """Return the IP addresses of the host by network interface: `mgmt`, `mig` or `svc`.

        On the service network a hypervisor has only a bridge and no address.
        """
        if self.spec.role is LabRole.HYPERVISOR:
            return {"mgmt": self.get_address("mgmt"), "mig": self.get_address("mig")}
        if self.spec.role is LabRole.STORAGE:
            return {"mgmt": self.get_address("mgmt"), "mig": self.get_address("mig")}
        return {"mgmt": self.get_address("mgmt"), "svc": self.get_address("svc")}


@dataclass(frozen=True)
class LabLayout:
    """Names, addresses and folders of a whole lab.

    Attributes:
        name: Name of the lab. An invalid name raises `UsageError`.
        topology: Hosts, pairs and links of the lab.
    """

    name: str
    topology: Topology

    def __post_init__(self) -> None:
        check_lab_name(self.name)

    @property
    def runtime_folder(self) -> Path:
        """Return the folder with the state file, the inventory and the SSH keys of the lab."""
        return paths.get_labs_folder() / self.name

    @property
    def disk_folder(self) -> Path:
        """Return the folder with all data that the hosts of the lab write.

        The folder is in the cache folder, since `/run` is small on many machines.
        """
        return get_disk_folder(self.name)

    @property
    def shared_folder(self) -> Path:
        """Return the folder on the machine that all hypervisors of the lab share."""
        return self.disk_folder / "shared"

    @property
    def exports_folder(self) -> Path:
        """Return the folder with the disk images that the storage host exports."""
        return self.disk_folder / "exports"

    @property
    def kvm_device(self) -> Path:
        """Return the path of the device file that the hypervisors of the lab see as /dev/kvm."""
        return self.disk_folder / "devices" / "kvm"

    @property
    def inventory_file(self) -> Path:
        """Return the path of the lab's inventory file."""
        return self.runtime_folder / "inventory.yml"

    @property
    def ssh_key_file(self) -> Path:
        """Return the file with the private SSH key for logins on all hosts of the lab."""
        return self.runtime_folder / "keys" / "id_ed25519"

    @property
    def known_hosts_file(self) -> Path:
        """Return the known_hosts file with the SSH host keys of all lab hosts."""
        return self.runtime_folder / "keys" / "known_hosts"

    @property
    def bridge_namespace(self) -> str:
        """Return the name of the network namespace that contains the bridges of the lab."""
        return build_namespace_name(self.name, BRIDGES_NAME)

    @property
    def controller_namespace(self) -> str:
        """Return the name of the network namespace from which the controller reaches the hosts."""
        return build_namespace_name(self.name, CONTROLLER_NAME)

    @cached_property
    def prefixes(self) -> Mapping[str, str]:
        """Return how the IP addresses of each network begin, for example with `10.77.1.`.

        The keys are the networks: `mgmt` (management), `mig` (migration) and `svc` (service).
        """
        ipv6_prefixes = {
            interface: IPV6_PREFIXES[interface]
            for network, interface in _NETWORK_INTERFACES.items()
            if network in self.topology.ipv6_networks
        }
        return NETWORK_PREFIXES | ipv6_prefixes

    @property
    def guest_address_range(self) -> str:
        """Return the range of guest addresses in the service network, as ``FIRST-LAST``."""
        return f"{self.prefixes['svc']}100-{self.prefixes['svc']}199"

    @cached_property
    def hosts(self) -> tuple[HostLayout, ...]:
        """Return the layout of every host, in the order of the topology."""
        return tuple(
            HostLayout(
                name=name,
                number=number,
                spec=spec,
                namespace=build_namespace_name(self.name, name),
                folder=self.disk_folder / "hosts" / name,
                lab_name=self.name,
                prefixes=self.prefixes,
            )
            for number, (name, spec) in enumerate(self.topology.hosts.items(), start=11)
        )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the names of all network namespaces of the lab."""
        host_namespaces = (host.namespace for host in self.hosts)
        return (self.bridge_namespace, self.controller_namespace, *host_namespaces)

    def get_host(self, name: str) -> HostLayout:
        """Return the layout of the host called `name`.

        Raises:
            UsageError: The lab has no host with the name.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        host_names = ", ".join(host.name for host in self.hosts)
        raise UsageError(
            f"no host {name!r} in lab {self.name!r}", remedy=f"choose one of: {host_names}"
        )

    def get_link(self, network: str) -> Link:
        """Return the rate limit and the latency of each host's link to `mgmt`, `mig` or `svc`."""
        links = self.topology.links
        return {"mgmt": links.management, "mig": links.migration, "svc": links.service}[network]


def get_prefix_length(prefix: str) -> int:
    """Return the prefix length in bits: 64 if `prefix` is the start of an IPv6 address, else 24."""
    return IPV6_PREFIX_LENGTH if ":" in prefix else IPV4_PREFIX_LENGTH


def build_namespace_name(lab_name: str, host_name: str) -> str:
    """Build the name of the network namespace of a host: `mq-LAB.HOST`."""
    return f"mq-{lab_name}.{host_name}"


def get_disk_folder(lab_name: str) -> Path:
    """Return the folder in the cache folder for the data that the hosts of a lab write."""
    return paths.get_cache_folder() / "labs" / lab_name


def check_lab_name(name: str) -> None:
    """Check that a lab name has up to 12 lower-case letters and digits, and begins with a letter.

    Raises:
        UsageError: The name has other characters or is too long.
    """
    if not LAB_NAME_PATTERN.match(name):
        raise UsageError(
            f"{name!r} cannot be the name of a lab",
            remedy="use up to 12 lower-case letters and digits; begin with a letter",
        )
