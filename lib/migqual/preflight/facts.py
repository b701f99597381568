"""Define the facts of preflight about guest, hosts and connections as frozen data.

The module `storage_facts` defines the facts about disks. A fact that could not be collected is
`Missing`, with the reason. Sizes are in MiB unless the name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from migqual.hosts.domain import DomainState
from migqual.hosts.domain_definition import DomainDefinition, Nic
from migqual.hosts.host_identity import HostIdentity
from migqual.model.plan import Plan
from migqual.preflight.storage_facts import DiskFact, StorageFacts
from migqual.probes.fact import Fact, Missing


class AgentState(StrEnum):
    """The state of the guest agent: the agent answers, does not answer, or has no channel."""

    RESPONDING = "answers"
    NOT_RESPONDING = "silent"
    NO_CHANNEL = "no channel"


@dataclass(frozen=True)
class GuestHealth:
    """The health of the guest: state, job, guest agent, disk errors, reasons against migration.

    Attributes:
        job: Type and operation of libvirt's active job. ``none`` means that no job is active.
        disk_errors: Error message of each disk with an error, by target.
        qemu_blockers: Reasons of QEMU against a migration of the guest.
        snapshots: Names of the snapshots whose metadata libvirt keeps on the source.
    """

    state: DomainState
    job: Fact[str]
    agent_state: Fact[AgentState]
    disk_errors: Fact[Mapping[str, str]]
    qemu_blockers: Fact[tuple[str, ...]]
    snapshots: Fact[tuple[str, ...]] = ()


@dataclass(frozen=True)
class HostCpu:
    """The CPU of a host.

    Attributes:
        signature: Vendor, family, model and stepping of the CPU in /proc/cpuinfo.
        flags: Features of the CPU in /proc/cpuinfo.
    """

    signature: str
    model_name: str
    flags: frozenset[str]


@dataclass(frozen=True)
class HostFacts:
    """The facts about a host.

    Attributes:
        identity: UUID and host name; libvirt compares both to recognize the same host.
        available_mib: Memory available for a new process.
        free_hugepages_mib: Free memory in huge pages of the guest's page size. None means that
            the guest has no huge pages.
    """

    name: str
    identity: HostIdentity
    arch: str
    cpu_count: int
    memory_mib: int
    available_mib: Fact[int]
    cpu: Fact[HostCpu]
    versions: Mapping[str, str]
    free_hugepages_mib: Fact[int] | None = None


@dataclass(frozen=True)
class HypervisorFacts:
    """The support of the destination's hypervisor for the guest.

    Attributes:
        max_vcpus: Maximum number of vCPUs for the guest's machine type. `Missing` means that the
            hypervisor does not know the machine type.
        cpu_comparison: ``identical`` or ``superset`` when the destination's CPU has all
            features of the guest's CPU. Otherwise libvirt's message about the missing features.
    """

    max_vcpus: Fact[int]
    cpu_comparison: Fact[str]

    @property
    def has_guest_cpu(self) -> bool:
        """Return whether the destination has all features of the guest's CPU."""
        return self.cpu_comparison in {"identical", "superset"}


class ConnectionPurpose(StrEnum):
    """The purpose of a connection between the hosts.

    Attributes:
        CONTROL: Test whether TCP reaches the port of libvirt, for example 22 for SSH.
        DATA: Test whether TCP reaches a migration port.
        LIBVIRT: Test whether a libvirt client can connect, with login.
    """

    CONTROL = "control"
    DATA = "data"
    LIBVIRT = "libvirt"


@dataclass(frozen=True)
class ConnectionAttempt:
    """An attempt to connect from one host of a pair to the peer, the other host.

    Attributes:
        endpoint: Address and port, or the libvirt URI.
        succeeded: Whether the connection succeeded. `Missing` means that no attempt was possible.
        message: Output of the attempt, which may be empty.
    """

    purpose: ConnectionPurpose
    host: str
    peer: str
    endpoint: str
    succeeded: Fact[bool]
    message: str = ""


@dataclass(frozen=True)
class NetworkSegment:
    """The bridges of a guest's network interface on both hosts.

    Attributes:
        destination_bridge: Name of the bridge at the destination. `Missing` means that no bridge
            exists.
        frames_pass: Whether frames pass between the two bridges, in both directions.
    """

    nic: Nic
    source_bridge: Fact[str]
    destination_bridge: Fact[str]
    frames_pass: Fact[bool]


@dataclass(frozen=True)
class SshLogin:
    """The results of login attempts at the SSH server of a host.

    Attributes:
        accepts_inventory_key: Whether the login with the inventory's key succeeds. `Missing`
            means that the server gives no answer.
        keyless_methods: Authentication methods that the server offers to clients without a key.
        accepts_wrong_key: Whether the server accepts a key generated for this attempt.
        accepts_unknown_host_key: Whether migqual logs in although the host key is unknown.
        key_refusal: Reason why the server refused the inventory's key. The reason is empty if the
            server accepted the key.
    """

    host: str
    accepts_inventory_key: Fact[bool]
    keyless_methods: Fact[frozenset[str]]
    accepts_wrong_key: Fact[bool]
    accepts_unknown_host_key: Fact[bool]
    key_refusal: str = ""

    @property
    def is_complete(self) -> bool:
        """Return whether the result of each login attempt is known."""
        return not any(
            isinstance(fact, Missing)
            for fact in (
                self.accepts_inventory_key,
                self.keyless_methods,
                self.accepts_wrong_key,
                self.accepts_unknown_host_key,
            )
        )


@dataclass(frozen=True)
class MigrationFacts:
    """All facts about a guest, both hosts and the connections between the hosts.

    Attributes:
        host_cpu_comparison: Result of libvirt at the source, then at the destination. Each libvirt
            compares the CPU of its host with the CPU of the peer.
        connection_attempts: Attempts in both directions.
        segments: Bridges of each network interface of the guest.
        destination_targets: Disk targets in the plan's domain XML for the destination. None means
            that the plan has no such XML.
    """

    guest: str
    plan: Plan
    definition: DomainDefinition
    health: GuestHealth
    source: HostFacts
    destination: HostFacts
    destination_hypervisor: HypervisorFacts
    host_cpu_comparison: Fact[tuple[str, str]]
    disks: tuple[DiskFact, ...] = ()
    connection_attempts: tuple[ConnectionAttempt, ...] = ()
    segments: tuple[NetworkSegment, ...] = ()
    destination_targets: tuple[str, ...] | None = None

    @property
    def storage(self) -> StorageFacts:
        """Return only the facts about the disks."""
        return StorageFacts(
            self.source.name,
            self.destination.name,
            self.plan,
            self.disks,
            tuple(disk.target for disk in self.definition.disks),
            self.destination_targets,
        )


@dataclass(frozen=True)
class PreflightFacts:
    """All facts of a preflight run.

    Attributes:
        logins: Results of the SSH login attempts, for each host.
        migration: Facts about the migration. `Missing` means that a host refused the SSH login, or
            that libvirt of a host did not answer.
    """

    logins: tuple[SshLogin, ...] = field(default=())
    migration: Fact[MigrationFacts] = field(
        default_factory=lambda: Missing("no facts were collected")
    )
