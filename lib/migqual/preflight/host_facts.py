"""Collect the facts of preflight about a host: SSH logins, CPU, memory, hypervisor."""

from lxml import etree

from migqual.errors import HostError, LoginRefused
from migqual.hosts import libvirt_queries, ssh_probe
from migqual.hosts.domain_definition import DomainDefinition
from migqual.hosts.host import Host
from migqual.hosts.host_names import translate_emulator
from migqual.hosts.ssh_penalties import LEDGER, parse_server_settings
from migqual.preflight.facts import HostCpu, HostFacts, HypervisorFacts, SshLogin
from migqual.probes.fact import Fact, Missing, fact_or_missing

_X86_SIGNATURE_FIELDS = ("vendor_id", "cpu family", "model", "stepping")
_ARM_SIGNATURE_FIELDS = ("CPU implementer", "CPU variant", "CPU part", "CPU revision")

# The architectures whose CPUs libvirt can compare (virConnectCompareHypervisorCPU).
_COMPARABLE_ARCHITECTURES = frozenset({"i686", "x86_64", "s390x"})


def probe_ssh_login(host: Host) -> SshLogin:
    """Try SSH logins with the inventory's key, no key, a wrong key and an unknown host key."""
    refusals: list[str] = []

    def try_inventory_key() -> bool:
        try:
            host.shell.run("true")
        except LoginRefused as error:
            refusals.append(error.message)
            return False
        return True

    accepts_inventory_key = fact_or_missing(try_inventory_key)
    if accepts_inventory_key is True and not LEDGER.knows_settings(host.entry):
        sshd_settings = host.shell.run_unchecked("/usr/sbin/sshd", "-T")
        if sshd_settings.status == 0:
            LEDGER.set_settings(host.entry, parse_server_settings(sshd_settings.stdout))
    auth_probe = fact_or_missing(lambda: ssh_probe.probe_auth_methods(host.entry))
    return SshLogin(
        host=host.name,
        accepts_inventory_key=accepts_inventory_key,
        keyless_methods=auth_probe if isinstance(auth_probe, Missing) else auth_probe[0],
        accepts_wrong_key=auth_probe if isinstance(auth_probe, Missing) else auth_probe[1],
        accepts_unknown_host_key=fact_or_missing(
            lambda: ssh_probe.accepts_unknown_host_key(host.entry)
        ),
        key_refusal="; ".join(refusals),
    )


def collect_host_facts(host: Host, hugepage_kib: int = 0) -> HostFacts:
    """Collect the facts about a host.

    Args:
        host: The host.
        hugepage_kib: Size of the guest's huge pages in KiB. 0 means that the guest has no huge
            pages.

    Returns:
        The facts.

    Raises:
        HostError: libvirt of the host does not answer.
    """
    node_info = host.libvirt.query_node_info()
    proc_text = fact_or_missing(
        lambda: host.shell.run("cat", "/proc/meminfo", "/proc/cpuinfo").stdout
    )
    return HostFacts(
        name=host.name,
        identity=host.libvirt.query_identity(),
        arch=str(node_info["arch"]),
        cpu_count=int(node_info["cpus"]),
        memory_mib=int(node_info["memory_mib"]),
        available_mib=proc_text
        if isinstance(proc_text, Missing)
        else parse_available_mib(proc_text),
        cpu=proc_text if isinstance(proc_text, Missing) else parse_host_cpu(proc_text),
        versions=host.query_versions(),
        free_hugepages_mib=fact_or_missing(lambda: read_free_hugepages_mib(host, hugepage_kib))
        if hugepage_kib
        else None,
    )


def read_free_hugepages_mib(host: Host, hugepage_kib: int) -> int:
    """Return how many MiB of memory are free in huge pages of `hugepage_kib` KiB."""
    path = f"/sys/kernel/mm/hugepages/hugepages-{hugepage_kib}kB/free_hugepages"
    return int(host.shell.run("cat", path).stdout) * hugepage_kib // 1024


def query_available_mib(host: Host) -> Fact[int]:
    """Query how many MiB of memory a new process can use on the host."""
    return parse_available_mib(host.shell.run("cat", "/proc/meminfo").stdout)


def parse_available_mib(proc_text: str) -> Fact[int]:
    """Parse /proc/meminfo; return how many MiB of memory a new process can use.

    This memory includes page cache, because the kernel can release page cache.
    """
    for line in proc_text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return Missing("/proc/meminfo has no MemAvailable line")


def parse_host_cpu(proc_text: str) -> Fact[HostCpu]:
    """Parse the CPU of the first processor in /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in proc_text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    signature_fields = _X86_SIGNATURE_FIELDS if "vendor_id" in fields else _ARM_SIGNATURE_FIELDS
    if not all(key in fields for key in signature_fields):
        return Missing("/proc/cpuinfo does not identify the CPU")
    signature = ", ".join(f"{key} {fields[key]}" for key in signature_fields)
    flags = fields.get("flags", fields.get("Features", ""))
    return HostCpu(signature, fields.get("model name", signature), frozenset(flags.split()))


def compare_host_cpus(source: Host, destination: Host) -> tuple[str, str]:
    """Compare the CPU of each host with the CPU of the peer.

    Returns:
        The result of libvirt at the source, then at the destination. The result is ``identical``,
        ``superset`` (the host has more features than the peer) or ``incompatible``.
    """
    return source.libvirt.compare_cpu(_read_cpu_xml(destination)), destination.libvirt.compare_cpu(
        _read_cpu_xml(source)
    )


def query_hypervisor_facts(
    source: Host, destination: Host, definition: DomainDefinition
) -> HypervisorFacts:
    """Query whether the destination supports the machine type and the CPU of the guest."""
    emulator = _find_destination_emulator(source, destination, definition)

    def query_max_vcpus() -> int:
        vcpu_element = destination.libvirt.query_domain_capabilities(
            emulator=emulator,
            arch=definition.arch,
            machine=definition.machine,
            virt_type=definition.virt_type,
        ).find("vcpu")
        if vcpu_element is None:
            raise HostError(destination.name, "libvirt reports no maximum number of vCPUs")
        return int(vcpu_element.get("max", "0"))

    return HypervisorFacts(
        max_vcpus=fact_or_missing(query_max_vcpus),
        cpu_comparison=fact_or_missing(
            lambda: _compare_guest_cpu(destination, definition, emulator)
        ),
    )


def _find_cpu_model(
    host: Host, model: str, emulator: str | None, machine_arguments: dict[str, str]
) -> str:
    """Search the domain capabilities of the host for the CPU model of the guest.

    This search replaces libvirt's comparison of CPUs for architectures such as aarch64, whose CPUs
    libvirt cannot compare.

    Returns:
        ``identical`` if the hypervisor offers the model. Otherwise a message that says that the
        hypervisor does not offer the model.
    """
    capabilities = host.libvirt.query_domain_capabilities(emulator=emulator, **machine_arguments)
    models = {
        element.text: element.get("usable")
        for element in capabilities.findall("cpu/mode[@name='custom']/model")
    }
    if models.get(model, "no") == "no":
        return f"the hypervisor does not offer the CPU model {model}"
    return "identical"


def _find_destination_emulator(
    source: Host, destination: Host, definition: DomainDefinition
) -> str | None:
    """Find the path of QEMU for the guest at the destination; None selects libvirt's default."""
    if not definition.emulator:
        return destination.entry.emulator
    return translate_emulator(definition.emulator, source.names, destination.names)


def _compare_guest_cpu(
    destination: Host, definition: DomainDefinition, emulator: str | None
) -> str:
    machine_arguments = {
        "arch": definition.arch,
        "machine": definition.machine,
        "virt_type": definition.virt_type,
    }
    if definition.cpu_mode in {"host-passthrough", "maximum"}:
        capabilities = destination.libvirt.query_domain_capabilities(
            emulator=emulator, **machine_arguments
        )
        mode = capabilities.find(f"cpu/mode[@name='{definition.cpu_mode}']")
        supported = mode is not None and mode.get("supported") == "yes"
        return (
            "identical"
            if supported
            else f"the hypervisor does not support the CPU mode {definition.cpu_mode}"
        )
    if not definition.cpu_xml:
        return "identical"  # the guest has the default CPU, which every hypervisor offers
    if definition.arch not in _COMPARABLE_ARCHITECTURES:
        return _find_cpu_model(destination, definition.cpu_model, emulator, machine_arguments)
    return libvirt_queries.compare_guest_cpu(
        destination.libvirt, definition.cpu_xml, emulator=emulator, **machine_arguments
    )


def _read_cpu_xml(host: Host) -> str:
    cpu = host.libvirt.query_capabilities().find("host/cpu")
    if cpu is None:
        raise HostError(host.name, "libvirt's capabilities do not describe the CPU")
    return etree.tostring(cpu, encoding=str, with_tail=False)
