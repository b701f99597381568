"""Preflight facts of a healthy pair of hosts and a healthy guest."""

from migqual.hosts.domain import DomainState
from migqual.hosts.domain_definition import Disk, DomainDefinition, Nic
from migqual.hosts.host_identity import HostIdentity
from migqual.model.plan import Plan
from migqual.preflight.facts import (
    AgentState,
    ConnectionAttempt,
    ConnectionPurpose,
    GuestHealth,
    HostCpu,
    HostFacts,
    HypervisorFacts,
    MigrationFacts,
    NetworkSegment,
    SshLogin,
)
from migqual.preflight.storage_facts import CopySpace, DiskFact, DiskLocation, FileSystem
from migqual.probes.fact import Fact

SAFE_LOGIN = SshLogin(
    "b",
    accepts_inventory_key=True,
    keyless_methods=frozenset(),
    accepts_wrong_key=False,
    accepts_unknown_host_key=False,
)
NIC = Nic("52:54:00:00:00:01", "bridge", "br0", "br0")
NFS_FILESYSTEM = FileSystem(0x6969, "nfs")
HOST_CPU = HostCpu("vendor 1, model 2", "Model Two", frozenset({"avx", "sse"}))


def make_disk_fact(
    target: str,
    location: DiskLocation,
    *,
    space: Fact[CopySpace] | None = None,
    readonly: bool = False,
    shareable: bool = False,
    filesystem: Fact[FileSystem] = NFS_FILESYSTEM,
) -> DiskFact:
    source = f"/images/{target}"
    domain_disk = Disk(target, "file", source, readonly=readonly, shareable=shareable)
    return DiskFact(domain_disk, location, "as probed", space, filesystem=filesystem)


def make_network_segment(
    *, destination_bridge: Fact[str] = "br0", frames_pass: Fact[bool] = True
) -> NetworkSegment:
    return NetworkSegment(NIC, "br0", destination_bridge, frames_pass)


def make_healthy_facts() -> MigrationFacts:
    return MigrationFacts(
        guest="vm",
        plan=Plan(),
        definition=_make_domain_definition(),
        health=GuestHealth(DomainState.RUNNING, "none", AgentState.RESPONDING, {}, ()),
        source=_make_host_facts("a"),
        destination=_make_host_facts("b"),
        destination_hypervisor=HypervisorFacts(max_vcpus=288, cpu_comparison="superset"),
        host_cpu_comparison=("identical", "identical"),
        disks=(
            make_disk_fact("vda", DiskLocation.SHARED),
            make_disk_fact("vdb", DiskLocation.REMOTE),
        ),
        connection_attempts=tuple(
            ConnectionAttempt(purpose, *host_names, "10.0.0.2 port 1", succeeded=True)
            for purpose in ConnectionPurpose
            for host_names in (("a", "b"), ("b", "a"))
        ),
        segments=(make_network_segment(),),
    )


def _make_host_facts(name: str) -> HostFacts:
    return HostFacts(
        name=name,
        identity=HostIdentity(f"uuid of {name}", name),
        arch="x86_64",
        cpu_count=2,
        memory_mib=4096,
        available_mib=2048,
        cpu=HOST_CPU,
        versions={"libvirt": "9.0.0"},
    )


def _make_domain_definition() -> DomainDefinition:
    return DomainDefinition(
        vcpus=2,
        memory_mib=512,
        hugepage_kib=0,
        cpu_mode="custom",
        cpu_model="qemu64",
        cpu_xml="<cpu/>",
        arch="x86_64",
        machine="q35",
        virt_type="kvm",
        emulator="",
        has_agent_channel=True,
        disks=(),
        nics=(NIC,),
        blockers=(),
    )
