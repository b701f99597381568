"""Check whether the destination has the network, the vCPUs and the memory that the guest needs.

The checks belong to the requirements LM-PRE-02 and LM-PRE-04. The functions have no side effects.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.preflight.facts import MigrationFacts
from migqual.preflight.findings import report_ok, report_refusal, report_unknown
from migqual.probes.fact import Missing

# memory of a QEMU process in addition to the guest's memory, MiB
QEMU_OVERHEAD_MIB = 64


def check_guest_bridges(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the destination has the bridges of the guest (LM-PRE-02.network).

    Frames must pass between the bridges of both hosts.
    """
    finding_id = "LM-PRE-02.network"
    if not facts.segments:
        yield report_ok(finding_id, "the guest has no network interface")
    for segment in facts.segments:
        bridge_label = segment.nic.source or segment.nic.type
        if isinstance(segment.destination_bridge, Missing):
            yield report_refusal(
                finding_id,
                f"the guest's network interface uses {bridge_label} at the source, but "
                f"{facts.destination.name} has no bridge for the interface: "
                f"{segment.destination_bridge.reason}",
                f"create the missing bridge or network on {facts.destination.name}",
            )
        elif isinstance(segment.frames_pass, Missing):
            yield report_unknown(
                finding_id,
                f"cannot determine whether frames pass between {bridge_label} on "
                f"{facts.source.name} and the bridge on {facts.destination.name}",
                segment.frames_pass,
            )
        elif segment.frames_pass:
            yield report_ok(
                finding_id,
                f"frames pass between {bridge_label} on {facts.source.name} and "
                f"the bridge on {facts.destination.name}",
            )
        else:
            yield report_refusal(
                finding_id,
                f"frames do not pass between {bridge_label} on {facts.source.name} and "
                f"the bridge on {facts.destination.name}",
                "connect the bridges of both hosts to the same layer-2 network",
            )


def check_vcpu_limit(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the destination supports the number of vCPUs of the guest (LM-PRE-04.cpu).

    The maximum number of vCPUs depends on the machine type of the guest. The check also refuses a
    destination whose architecture differs from the source.
    """
    finding_id, max_vcpus = "LM-PRE-04.cpu", facts.destination_hypervisor.max_vcpus
    needed_vcpus, machine = facts.definition.vcpus, facts.definition.machine
    if facts.source.arch != facts.destination.arch:
        yield report_refusal(
            finding_id,
            f"{facts.destination.name} has the architecture {facts.destination.arch}, "
            f"but the guest has {facts.definition.arch}",
            "choose a destination of the same architecture",
        )
    elif isinstance(max_vcpus, Missing):
        yield report_unknown(
            finding_id,
            f"cannot determine how many vCPUs {facts.destination.name} supports with the machine "
            f"type {machine}",
            max_vcpus,
            "remove the cause named at the end of the message. If the machine type is not "
            "supported, install a QEMU that supports the machine type, or choose an older machine "
            "type",
        )
    elif needed_vcpus > max_vcpus:
        yield report_refusal(
            finding_id,
            f"the guest needs {needed_vcpus} vCPUs, but the machine type {machine} allows at most "
            f"{max_vcpus} on {facts.destination.name}",
            "give the guest fewer vCPUs",
            needed=needed_vcpus,
            available=max_vcpus,
        )
    else:
        yield report_ok(
            finding_id,
            f"{facts.destination.name} supports {needed_vcpus} vCPUs with machine type {machine}",
            needed=needed_vcpus,
            available=max_vcpus,
        )


def check_available_memory(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the destination has enough memory for the guest (LM-PRE-04.memory).

    A guest with huge pages needs free huge pages of the same size. Any other guest needs as much
    available memory as the guest's memory plus `QEMU_OVERHEAD_MIB` for QEMU.
    """
    finding_id, hugepage_kib = "LM-PRE-04.memory", facts.definition.hugepage_kib
    needed_mib = facts.definition.memory_mib + (0 if hugepage_kib else QEMU_OVERHEAD_MIB)
    free_hugepages_mib = facts.destination.free_hugepages_mib
    available_mib = (
        facts.destination.available_mib if free_hugepages_mib is None else free_hugepages_mib
    )
    memory_kind = f"memory in huge pages of {hugepage_kib} KiB" if hugepage_kib else "memory"
    if isinstance(available_mib, Missing):
        yield report_unknown(
            finding_id,
            f"cannot determine how much {memory_kind} is available on {facts.destination.name}",
            available_mib,
        )
        return
    message = (
        f"the guest needs {needed_mib} MiB of {memory_kind}, and "
        f"{available_mib} MiB are available on {facts.destination.name}"
    )
    figures = {"needed_mib": needed_mib, "available_mib": available_mib}
    if available_mib >= needed_mib:
        yield report_ok(finding_id, message, **figures)
    else:
        remedy = (
            f"free {needed_mib - available_mib} MiB of {memory_kind} on "
            f"{facts.destination.name}, or choose another destination"
        )
        yield report_refusal(finding_id, message, remedy, **figures)
