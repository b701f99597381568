"""Define the facts of preflight as frozen data; `storage_facts` has the disks.

A fact without a value gives the reason (`Missing`). Sizes are in MiB unless the name says
otherwise.
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
    """The state of the guest agent."""

    RESPONDING = "answers"
    NOT_RESPONDING = "silent"
    NO_CHANNEL = "no channel"


@dataclass(frozen=True)
class GuestHealth:
    """The state of the guest as reported by the guest's host.

    Attributes:
        job: Type of the active job, or ``none``.
        disk_errors: Errors reported by disks, by target; empty without errors.
        qemu_blockers: QEMU's own reasons against a migration.
    """

    state: DomainState
    job: Fact[str]
    agent_state: Fact[AgentState]
    disk_errors: Fact[Mapping[str, str]]
    qemu_blockers: Fact[tuple[str, ...]]


@dataclass(frozen=True)
class HostCpu:
    """The CPU of a host.

    Attributes:
        signature: Identification read by the kernel from the CPU: vendor, family, model,
            stepping.
    """

    signature: str
    model_name: str
    flags: frozenset[str]


@dataclass(frozen=True)
class HostFacts:
    """The facts about a host.

    Attributes:
        identity: UUID and host name, as libvirt compares them.
        free_hugepages_mib: Free memory in pages of the guest's huge page size; None for a guest
            without huge pages.
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
        max_vcpus: Maximum of the guest's machine type; missing when the hypervisor does not
            know the machine type.
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
    """The purpose of a connection between the hosts."""

    CONTROL = "control"
    DATA = "data"
    LIBVIRT = "libvirt"


@dataclass(frozen=True)
class ConnectionAttempt:
    """An attempted connection from a host to the peer.

    Attributes:
        succeeded: Whether the connection was established; missing when no attempt was possible.
    """

    purpose: ConnectionPurpose
    host: str
    peer: str
    endpoint: str
    succeeded: Fact[bool]
    message: str = ""


@dataclass(frozen=True)
class NetworkSegment:
    """The bridges of a service interface on both hosts.

    Attributes:
        destination_bridge: Bridge at the destination; missing when the destination has no
            bridge with the name.
        frames_pass: Whether frames pass between the bridges.
    """

    nic: Nic
    source_bridge: Fact[str]
    destination_bridge: Fact[str]
    frames_pass: Fact[bool]


@dataclass(frozen=True)
class SshLogin:
    """The logins accepted by the SSH server of a host.

    Attributes:
        accepts_inventory_key: Whether the login with the inventory's key succeeds; missing when
            the server gave no answer.
        keyless_methods: Authentication methods offered by the server besides keys.
        accepts_wrong_key: Whether the server accepted a newly generated key.
        accepts_unknown_host_key: Whether our client logged in although the host key was
            unknown.
        key_refusal: Reason for a refused login with the inventory's key; else empty.
    """

    host: str
    accepts_inventory_key: Fact[bool]
    keyless_methods: Fact[frozenset[str]]
    accepts_wrong_key: Fact[bool]
    accepts_unknown_host_key: Fact[bool]
    key_refusal: str = ""


@dataclass(frozen=True)
class MigrationFacts:
    """All facts about a guest, both hosts and the connections between the hosts.

    Attributes:
        host_cpu_comparison: Result of the comparison of each host's CPU with the CPU of the
            peer: first from the source, then from the destination.
        destination_targets: Disk targets in the plan's definition for the destination; None
            without such a definition.
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
        """Return the facts about the disks alone."""
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
        migration: Missing when a host refused our login or libvirt did not answer.
    """

    logins: tuple[SshLogin, ...] = field(default=())
    migration: Fact[MigrationFacts] = field(
        default_factory=lambda: Missing("no facts were collected")
    )
