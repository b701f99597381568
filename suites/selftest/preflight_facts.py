"""Facts of a pair on which nothing is wrong."""

from migqual.model.plan import Plan
from migqual.preflight.definition import Definition, Disk, Nic
from migqual.preflight.facts import (
    Agent,
    Channel,
    DiskFact,
    Fact,
    FileSystem,
    Health,
    HostCpu,
    HostFacts,
    Login,
    Offer,
    Place,
    Reach,
    Seen,
    Segment,
    Space,
)

LOGIN = Login("b", key=True, methods=frozenset(), wrong_key=False, unknown_host=False)
NIC = Nic("52:54:00:00:00:01", "bridge", "br0", "br0")
NFS = FileSystem(0x6969, "nfs")
CPU = HostCpu("vendor 1, model 2", "Model Two", frozenset({"avx", "sse"}))


def disk(
    target: str,
    place: Place,
    *,
    space: Fact[Space] | None = None,
    readonly: bool = False,
    shareable: bool = False,
    filesystem: Fact[FileSystem] = NFS,
) -> DiskFact:
    source = f"/images/{target}"
    one = Disk(target, "file", source, readonly=readonly, shareable=shareable)
    return DiskFact(one, place, "as probed", space, filesystem=filesystem)


def segment(*, there: Fact[str] = "br0", passed: Fact[bool] = True) -> Segment:
    return Segment(NIC, "br0", there, passed)


def healthy() -> Seen:
    return Seen(
        guest="vm",
        plan=Plan(),
        definition=_definition(),
        health=Health("running", "none", Agent.ANSWERS, {}, ()),
        source=_host("a"),
        destination=_host("b"),
        offer=Offer(max_vcpus=288, cpu="superset"),
        host_cpus=("identical", "identical"),
        disks=(disk("vda", Place.SHARED), disk("vdb", Place.REMOTE)),
        reaches=tuple(
            Reach(channel, *way, "10.0.0.2 port 1", passed=True)
            for channel in Channel
            for way in (("a", "b"), ("b", "a"))
        ),
        segments=(segment(),),
    )


def _host(name: str) -> HostFacts:
    return HostFacts(
        name=name,
        arch="x86_64",
        cpus=2,
        memory_mib=4096,
        available_mib=2048,
        cpu=CPU,
        versions={"libvirt": "9.0.0"},
    )


def _definition() -> Definition:
    return Definition(
        vcpus=2,
        memory_mib=512,
        hugepage_kib=0,
        cpu_mode="custom",
        cpu_model="qemu64",
        cpu_xml="<cpu/>",
        arch="x86_64",
        machine="q35",
        virt="kvm",
        emulator="",
        agent_channel=True,
        disks=(),
        nics=(NIC,),
        blockers=(),
    )
