"""Facts about one host."""

from lxml import etree

from migqual.errors import HostError
from migqual.hosts import questions, ssh_probe
from migqual.hosts.host import Host
from migqual.preflight.definition import Definition
from migqual.preflight.facts import Fact, HostCpu, HostFacts, Login, Missing, Offer
from migqual.preflight.tools import had

_X86 = ("vendor_id", "cpu family", "model", "stepping")
_ARM = ("CPU implementer", "CPU variant", "CPU part", "CPU revision")


def login(host: Host) -> Login:
    """Try the key of the inventory, no key, a wrong key, and a host key that nobody knows."""

    def key() -> bool:
        host.shell.run("true")
        return True

    strangers = had(lambda: ssh_probe.strangers(host.entry))
    return Login(
        host=host.name,
        key=had(key),
        methods=strangers if isinstance(strangers, Missing) else strangers[0],
        wrong_key=strangers if isinstance(strangers, Missing) else strangers[1],
        unknown_host=had(lambda: ssh_probe.greets_strangers(host.entry)),
    )


def host_facts(host: Host, page_kib: int = 0) -> HostFacts:
    """`page_kib`: size of the huge pages that the guest has its memory in; 0 for none.

    Raises `HostError` when libvirt does not answer.
    """
    node = host.libvirt.node()
    text = had(lambda: host.shell.run("cat", "/proc/meminfo", "/proc/cpuinfo").stdout)
    return HostFacts(
        name=host.name,
        arch=str(node["arch"]),
        cpus=int(node["cpus"]),
        memory_mib=int(node["memory_mib"]),
        available_mib=text if isinstance(text, Missing) else available_mib(text),
        cpu=text if isinstance(text, Missing) else host_cpu(text),
        versions=host.libvirt.versions(),
        free_hugepages_mib=had(lambda: hugepages_mib(host, page_kib)) if page_kib else None,
    )


def hugepages_mib(host: Host, page_kib: int) -> int:
    """Free memory in huge pages of that size."""
    path = f"/sys/kernel/mm/hugepages/hugepages-{page_kib}kB/free_hugepages"
    return int(host.shell.run("cat", path).stdout) * page_kib // 1024


def available_mib(text: str) -> Fact[int]:
    """Pure: what a new process may take, of /proc/meminfo (page cache can be given up)."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return Missing("/proc/meminfo does not say MemAvailable")


def host_cpu(text: str) -> Fact[HostCpu]:
    """Pure: the first processor of /proc/cpuinfo."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    keys = _X86 if "vendor_id" in found else _ARM
    if not all(key in found for key in keys):
        return Missing("/proc/cpuinfo does not name the processor")
    hardware = ", ".join(f"{key} {found[key]}" for key in keys)
    flags = found.get("flags", found.get("Features", ""))
    return HostCpu(hardware, found.get("model name", hardware), frozenset(flags.split()))


def compare_hosts(source: Host, destination: Host) -> tuple[str, str]:
    """How the CPU of each host compares with the other's: of the source, of the destination."""
    return source.libvirt.compare_cpu(_cpu_of(destination)), destination.libvirt.compare_cpu(
        _cpu_of(source)
    )


def offer(destination: Host, guest: Definition) -> Offer:
    """What the destination's hypervisor has for the guest."""
    emulator = guest.emulator or destination.entry.emulator

    def most() -> int:
        found = destination.libvirt.domain_capabilities(
            emulator=emulator, arch=guest.arch, machine=guest.machine, virt=guest.virt
        ).find("vcpu")
        if found is None:
            raise HostError(destination.name, "libvirt names no maximum of vCPUs")
        return int(found.get("max", "0"))

    return Offer(max_vcpus=had(most), cpu=had(lambda: _offered_cpu(destination, guest)))


def _offered_cpu(destination: Host, guest: Definition) -> str:
    emulator = guest.emulator or destination.entry.emulator
    kind = {"arch": guest.arch, "machine": guest.machine, "virt": guest.virt}
    if guest.cpu_mode in {"host-passthrough", "maximum"}:
        found = destination.libvirt.domain_capabilities(emulator=emulator, **kind)
        mode = found.find(f"cpu/mode[@name='{guest.cpu_mode}']")
        has = mode is not None and mode.get("supported") == "yes"
        return "identical" if has else f"the hypervisor has no {guest.cpu_mode} CPU"
    if not guest.cpu_xml:
        return "identical"  # the hypervisor's own default, which every one of them has
    return questions.compare_guest_cpu(
        destination.libvirt, guest.cpu_xml, emulator=emulator, **kind
    )


def _cpu_of(host: Host) -> str:
    cpu = host.libvirt.capabilities().find("host/cpu")
    if cpu is None:
        raise HostError(host.name, "libvirt's capabilities describe no CPU")
    return etree.tostring(cpu, encoding=str, with_tail=False)
