"""Pure checks of what the guest uses but for its disks: LM-PRE-02, LM-PRE-04."""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.preflight.facts import Missing, Seen
from migqual.preflight.verdicts import ok, refused, unknown

# what a QEMU process takes besides the guest's memory, MiB
OVERHEAD_MIB = 64


def network(seen: Seen) -> Iterator[Finding]:
    """LM-PRE-02: the destination has the bridges that the guest joins, and frames arrive there."""
    name = "LM-PRE-02.network"
    if not seen.segments:
        yield ok(name, "the guest uses no network")
    for one in seen.segments:
        label = one.nic.source or one.nic.type
        if isinstance(one.there, Missing):
            yield refused(
                name,
                f"the guest joins {label}: {one.there.why}",
                f"make {label} at {seen.destination.name}",
            )
        elif isinstance(one.passed, Missing):
            yield unknown(name, f"whether {label} serves the guest on both hosts", one.passed)
        elif one.passed:
            yield ok(name, f"{label} of {seen.source.name} reaches {seen.destination.name}")
        else:
            yield refused(
                name,
                f"{label} of {seen.destination.name} is cut off from that of {seen.source.name}",
                "connect the bridges of both hosts",
            )


def cpu(seen: Seen) -> Iterator[Finding]:
    """LM-PRE-04: the destination's hypervisor can run that many vCPUs of that machine."""
    name, most = "LM-PRE-04.cpu", seen.offer.max_vcpus
    need, machine = seen.definition.vcpus, seen.definition.machine
    if seen.source.arch != seen.destination.arch:
        yield refused(
            name,
            f"{seen.destination.name} is {seen.destination.arch}, the guest {seen.definition.arch}",
            "choose a destination of the same architecture",
        )
    elif isinstance(most, Missing):
        yield unknown(
            name,
            f"whether the destination runs {machine}",
            most,
            "install the QEMU that knows this machine type, or choose an older machine type",
        )
    elif need > most:
        yield refused(
            name,
            f"{need} vCPUs needed, {machine} has at most {most} at {seen.destination.name}",
            "give the guest fewer vCPUs",
            needed=need,
            available=most,
        )
    else:
        yield ok(name, f"{machine} with {need} vCPUs can run there", needed=need, available=most)


def memory(seen: Seen) -> Iterator[Finding]:
    name, page = "LM-PRE-04.memory", seen.definition.hugepage_kib
    need = seen.definition.memory_mib + (0 if page else OVERHEAD_MIB)
    pages = seen.destination.free_hugepages_mib
    have = seen.destination.available_mib if pages is None else pages
    kind = f"memory in pages of {page} KiB" if page else "memory"
    if isinstance(have, Missing):
        yield unknown(name, f"how much {kind} {seen.destination.name} can spare", have)
        return
    words = f"{need} MiB of {kind} needed, {have} MiB available at {seen.destination.name}"
    figures = {"needed_mib": need, "available_mib": have}
    if have >= need:
        yield ok(name, words, **figures)
    else:
        remedy = f"free {need - have} MiB there, or choose another destination"
        yield refused(name, words, remedy, **figures)
