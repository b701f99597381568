"""Pure checks of a guest's disks: LM-SHR-01, LM-PRE-02, LM-PRE-04, LM-LOC and LM-NSS.

Those of LM-LOC and LM-NSS say nothing where the plan copies no disk.
"""

from collections.abc import Iterable, Iterator

from migqual.model.finding import Finding
from migqual.model.plan import Images, StorageCopy
from migqual.preflight.facts import (
    DiskFact,
    Folder,
    Image,
    Kind,
    Missing,
    Place,
    Space,
    Storage,
    Target,
)
from migqual.preflight.verdicts import ok, refused, unknown, warning


def classes(storage: Storage) -> Iterator[Finding]:
    """LM-SHR-01: one finding per disk."""
    for fact in storage.disks:
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


def reached(storage: Storage) -> Iterator[Finding]:
    """LM-PRE-02: both hosts work on the same disks, or the plan copies those they do not share."""
    name = "LM-PRE-02.storage"
    copied = storage.copied
    cut = [fact for fact in storage.disks if fact.place is Place.UNREACHABLE]
    left = [fact for fact in storage.disks if fact.place is Place.LOCAL and fact not in copied]
    vague = [fact for fact in storage.disks if fact.place is Place.AMBIGUOUS]
    figures = {fact.disk.target: fact.place.value for fact in storage.disks}
    if cut:
        yield refused(
            name, f"not reached from both hosts: {_told(cut)}", "open the store to both", **figures
        )
    elif left:
        yield refused(
            name,
            f"only at {storage.source}, and the plan does not copy it: {_told(left)}",
            "copy it (`--copy-storage all`), or put it on a store that both hosts reach",
            **figures,
        )
    elif vague:
        yield unknown(name, "whether both hosts use the same disks", Missing(_told(vague)))
    else:
        common = sum(fact.place.common for fact in storage.disks)
        rest = len(storage.disks) - common
        yield ok(name, f"{common} disks reached from both hosts, {rest} to be copied", **figures)


def room(storage: Storage) -> Iterator[Finding]:
    """LM-PRE-04: room for copies; disks that both hosts use need none."""
    name = "LM-PRE-04.storage"
    own = [fact for fact in storage.disks if not fact.place.common]
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
        yield _room(name, f"{storage.destination}:{mount}", need, have)


def identical(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-01: no disk is copied over itself."""
    name = "LM-NSS-01.image"
    same = [fact for fact in storage.copied if fact.place.common]
    vague = [fact for fact in storage.copied if fact.place is Place.AMBIGUOUS]
    if same:
        yield refused(
            name,
            f"source and destination are one image: {_told(same)}",
            f"leave it out: --migrate-disks with the disks that only {storage.source} has",
            **{fact.disk.target: fact.evidence for fact in same},
        )
    elif vague:
        yield unknown(name, "whether a disk would be copied over itself", Missing(_told(vague)))
    elif storage.copied:
        yield ok(name, f"{len(storage.copied)} disks, each to an image of its own")


def shareable(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-02: a disk that several guests may write is not copied away from them."""
    found = [fact for fact in storage.copied if fact.disk.shareable]
    if found:
        yield refused(
            "LM-NSS-02.shareable",
            f"shareable, and the plan copies it: {_targets(found)}",
            "leave it out of --migrate-disks, and put it on a store that both hosts reach",
        )
    elif storage.copied:
        yield ok("LM-NSS-02.shareable", "no disk that is copied is shareable")


def no_device(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-03: a copy goes to a file, never to a raw device."""
    found = [
        f"{fact.disk.target} to {target.path}"
        for fact, target in _with_target(storage)
        if target.kind in {Kind.DEVICE, Kind.OTHER}
    ]
    if found:
        yield refused(
            "LM-NSS-03.file",
            f"the copy would go to what is no file at {storage.destination}: {', '.join(found)}",
            "give the destination a file there, of the same name, format and size",
        )
    elif storage.copied:
        yield ok("LM-NSS-03.file", "every copy goes to a file")


def size(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-04: an image that is there already has the size of the disk, to the byte."""
    name = "LM-NSS-04.size"
    wrong = False
    for fact, image, there in _with_images(storage):
        if image.virtual_size != there.virtual_size:
            wrong = True
            larger = "larger" if there.virtual_size > image.virtual_size else "smaller"
            yield refused(
                name,
                f"{fact.disk.target} has {image.virtual_size} bytes, its image at "
                f"{storage.destination} {there.virtual_size}: {larger}",
                f"make that image anew with {image.virtual_size} bytes",
                source_bytes=image.virtual_size,
                destination_bytes=there.virtual_size,
            )
    if storage.copied and not wrong:
        yield ok(name, "no image at the destination has another size")


def count(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-05: as many disks at the destination as at the source."""
    name = "LM-NSS-05.count"
    there = storage.there
    if there is not None and set(there) != set(storage.targets):
        yield refused(
            name,
            f"{len(storage.targets)} disks at {storage.source} ({', '.join(storage.targets)}), "
            f"{len(there)} at {storage.destination} ({', '.join(there)})",
            "give the destination the same disks",
            source=len(storage.targets),
            destination=len(there),
        )
        return
    if not storage.copied:
        return
    if storage.plan.images is Images.CREATED:
        yield ok(name, f"{len(storage.copied)} images are made before the migration")
        return
    missing = [fact for fact, target in _with_target(storage) if target.kind is Kind.ABSENT]
    present = len(storage.copied) - len(missing)
    figures = {"source": len(storage.copied), "destination": present}
    if missing:
        yield refused(
            name,
            f"{len(storage.copied)} disks are copied, {present} images are at "
            f"{storage.destination}: {_targets(missing)} missing",
            "make the missing images first, or let them be made (images: created)",
            **figures,
        )
    else:
        yield ok(name, f"{present} disks, {present} images", **figures)


def hybrid(storage: Storage) -> Iterator[Finding]:
    """LM-NSS-06: the disks that are named hold none that is shared, read-only or empty."""
    name = "LM-NSS-06.set"
    named = storage.plan.migrate_disks
    media = {fact.disk.target for fact in storage.disks}
    bad = [
        *(f"{fact.disk.target} is read-only" for fact in storage.copied if fact.disk.readonly),
        *(f"{fact.disk.target} is shareable" for fact in storage.copied if fact.disk.shareable),
        *(
            f"{fact.disk.target} is {fact.place}"
            for fact in storage.copied
            if named and fact.place.common
        ),
        *(f"{it} is empty" for it in named if it in storage.targets and it not in media),
    ]
    if bad:
        rest = [fact for fact in storage.disks if fact.disk.own and not fact.place.common]
        yield refused(
            name,
            f"the plan copies what must stay: {', '.join(bad)}",
            f"copy only {_targets(rest) or 'disks that are not shared'}",
        )
    elif storage.copied:
        yield ok(name, f"{_targets(storage.copied)}: none shared, none read-only")


def image(storage: Storage) -> Iterator[Finding]:
    """LM-LOC-01: where each copy goes an image can be made, or the right one is there."""
    troubles = [
        (fact, *trouble)
        for fact, target in _with_target(storage)
        if (trouble := _trouble(storage, fact, target))
    ]
    for fact, words, remedy in troubles:
        yield refused("LM-LOC-01.image", f"{fact.disk.target}: {words}", remedy)
    for fact in storage.copied:
        if isinstance(fact.target, Missing):
            yield unknown("LM-LOC-01.image", f"where {fact.disk.target} would go", fact.target)
    if storage.copied and not troubles:
        yield ok("LM-LOC-01.image", "every copy has its place")


def named(storage: Storage) -> Iterator[Finding]:
    """LM-LOC-02: the guest has the disks that the plan names."""
    strangers = [name for name in storage.plan.migrate_disks if name not in storage.targets]
    if strangers:
        yield refused(
            "LM-LOC-02.disks",
            f"the guest has no disk {', '.join(strangers)}",
            f"its disks: {', '.join(storage.targets) or 'none'}",
        )
    elif storage.plan.migrate_disks:
        yield ok("LM-LOC-02.disks", "the guest has every disk that is named")


def _trouble(storage: Storage, fact: DiskFact, target: Target) -> tuple[str, str] | None:
    """What is wrong with the place of one copy, and the remedy."""
    where = f"{storage.destination}:{target.path}"
    image, there = fact.image, target.image
    if isinstance(image, Image) and image.encrypted:
        return f"{fact.disk.source} is encrypted", "its secret is not ours: copy it by other means"
    if fact.place.common or target.kind in {Kind.DEVICE, Kind.OTHER}:
        return None  # told by others
    if target.kind is Kind.ABSENT:
        return _no_place(storage, target, where) or _backing(storage, fact)
    if target.used:
        return f"{where} is in use by another guest", "choose another name, or stop that guest"
    if storage.plan.images is Images.CREATED:
        return f"{where} is there already, and would be lost", "remove it, or plan images: present"
    if isinstance(image, Image) and isinstance(there, Image) and image.format != there.format:
        return (
            f"{image.format} at {storage.source}, {there.format} at {where}",
            f"make that image anew as {image.format}",
        )
    return _backing(storage, fact)


def _no_place(storage: Storage, target: Target, where: str) -> tuple[str, str] | None:
    if storage.plan.images is Images.PRESENT:
        return None  # told by the count
    if target.folder is Folder.MISSING:
        return f"{where}: there is no such folder", "make it, or mount what belongs there"
    if target.folder is Folder.READ_ONLY:
        return f"{where}: nothing can be written there", "mount it for writing"
    return None


def _backing(storage: Storage, fact: DiskFact) -> tuple[str, str] | None:
    if storage.plan.copy_storage is not StorageCopy.INCREMENTAL:
        return None
    image = fact.image
    if not isinstance(image, Image) or not image.backing or fact.backing_equal is True:
        return None
    why = fact.backing_equal.why if isinstance(fact.backing_equal, Missing) else "it differs"
    return (
        f"{storage.destination} has not the same backing file {image.backing}: {why}",
        "copy the backing file there first, or copy everything (`--copy-storage all`)",
    )


def _with_target(storage: Storage) -> Iterator[tuple[DiskFact, Target]]:
    for fact in storage.copied:
        if isinstance(fact.target, Target):
            yield fact, fact.target


def _with_images(storage: Storage) -> Iterator[tuple[DiskFact, Image, Image]]:
    for fact, target in _with_target(storage):
        if isinstance(fact.image, Image) and isinstance(target.image, Image):
            yield fact, fact.image, target.image


def _room(name: str, where: str, need: int, have: int) -> Finding:
    words = f"{need} MiB of storage needed, {have} MiB available at {where}"
    if have >= need:
        return ok(name, words, needed_mib=need, available_mib=have)
    remedy = f"free {need - have} MiB there"
    return refused(name, words, remedy, needed_mib=need, available_mib=have)


def _targets(facts: Iterable[DiskFact]) -> str:
    return ", ".join(fact.disk.target for fact in facts)


def _told(facts: Iterable[DiskFact]) -> str:
    return "; ".join(f"{fact.disk.target} ({fact.evidence})" for fact in facts)
