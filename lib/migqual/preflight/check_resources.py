"""Pure checks of what the guest uses: LM-PRE-02, LM-PRE-04, LM-SHR-01."""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import StorageCopy
from migqual.preflight.facts import DiskFact, Missing, Place, Seen, Space
from migqual.preflight.verdicts import ok, refused, unknown, warning

# what a QEMU process takes besides the guest's memory, MiB
OVERHEAD_MIB = 64


def classes(seen: Seen) -> Iterator[Finding]:
    """LM-SHR-01: one finding per disk."""
    for fact in seen.disks:
        name = f"LM-SHR-01.{fact.disk.target}"
        words = f"{fact.disk.target} is {fact.place}: {fact.evidence}"
        figures = {"place": fact.place.value, "source": fact.disk.source}
        if fact.place is Place.AMBIGUOUS:
            yield unknown(
                name,
                f"where {fact.disk.target} is",
                Missing(fact.evidence),
                "look at the store by hand; for guests of others, allow --write-probes",
                **figures,
            )
        elif fact.place is Place.UNREACHABLE:
            yield warning(name, words, "open the store to both hosts", **figures)
        else:
            yield ok(name, words, **figures)


def storage(seen: Seen) -> Iterator[Finding]:
    """LM-PRE-02: both hosts work on the same disks, or the plan copies those they do not share."""
    name = "LM-PRE-02.storage"
    cut = [fact for fact in seen.disks if fact.place is Place.UNREACHABLE]
    left = [fact for fact in seen.disks if fact.place is Place.LOCAL and not _copied(seen, fact)]
    vague = [fact for fact in seen.disks if fact.place is Place.AMBIGUOUS]
    figures = {fact.disk.target: fact.place.value for fact in seen.disks}
    if cut:
        yield refused(
            name, f"not reached from both hosts: {_told(cut)}", "open the store to both", **figures
        )
    elif left:
        yield refused(
            name,
            f"only at {seen.source.name}, and the plan does not copy it: {_told(left)}",
            "copy it (--copy-storage-all), or put it on a store that both hosts reach",
            **figures,
        )
    elif vague:
        yield unknown(name, "whether both hosts use the same disks", Missing(_told(vague)))
    else:
        common = sum(fact.place.common for fact in seen.disks)
        copied = len(seen.disks) - common
        yield ok(name, f"{common} disks reached from both hosts, {copied} to be copied", **figures)


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


def room(seen: Seen) -> Iterator[Finding]:
    """LM-PRE-04: room for copies; disks that both hosts use need none."""
    name = "LM-PRE-04.storage"
    own = [fact for fact in seen.disks if not fact.place.common]
    if not own:
        yield ok(name, "no disk needs room at the destination", needed_mib=0)
        return
    for fact in own:
        if not isinstance(fact.space, Space):
            why = fact.space or Missing("not asked")
            yield unknown(name, f"whether there is room for {fact.disk.target}", why)
    needs: dict[str, tuple[int, int]] = {}
    for space in (fact.space for fact in own):
        if isinstance(space, Space):
            needed = needs.get(space.mount, (0, 0))[0] + space.needed_mib
            needs[space.mount] = needed, space.available_mib
    for mount, (need, have) in needs.items():
        yield _room(name, f"{seen.destination.name}:{mount}", need, have)


def _room(name: str, where: str, need: int, have: int) -> Finding:
    words = f"{need} MiB of storage needed, {have} MiB available at {where}"
    if have >= need:
        return ok(name, words, needed_mib=need, available_mib=have)
    remedy = f"free {need - have} MiB there"
    return refused(name, words, remedy, needed_mib=need, available_mib=have)


def _copied(seen: Seen, fact: DiskFact) -> bool:
    """libvirt copies all disks that can be written and are not shared, or those that are named."""
    if seen.plan.copy_storage is StorageCopy.NONE:
        return False
    named = seen.plan.migrate_disks
    if named:
        return fact.disk.target in named
    return not (fact.disk.readonly or fact.disk.shareable)


def _told(facts: list[DiskFact]) -> str:
    return "; ".join(f"{fact.disk.target} ({fact.evidence})" for fact in facts)
