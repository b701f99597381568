"""Pure checks of a guest's disks: LM-SHR-01, LM-PRE-02, LM-PRE-04, LM-LOC and LM-NSS.

The checks of LM-LOC and LM-NSS yield no finding where the plan copies no disk. Only LM-NSS-05
then still compares the disks of both definitions.
"""

from collections.abc import Iterable, Iterator

from migqual.model.finding import Finding
from migqual.model.plan import DestinationImages, StorageCopy
from migqual.preflight.facts import CopySpace, DiskFact, DiskLocation, StorageFacts
from migqual.preflight.findings import report_ok, report_refusal, report_unknown, report_warning
from migqual.probes.disk_images import CopyDestination, FolderState, ImageInfo, PathKind
from migqual.probes.fact import Missing


def check_disk_locations(storage: StorageFacts) -> Iterator[Finding]:
    """Report the location of each disk (LM-SHR-01).

    The check yields a finding per disk: unknown for an ambiguous location, a warning for an
    unreachable disk, otherwise ok.
    """
    for fact in storage.disks:
        finding_id = f"LM-SHR-01.{fact.disk.target}"
        message = f"{fact.disk.target} is {fact.location}: {fact.evidence}"
        figures = {"location": fact.location.value, "source": fact.disk.source}
        if fact.location is DiskLocation.AMBIGUOUS:
            yield report_unknown(
                finding_id,
                f"where {fact.disk.target} is",
                Missing(fact.evidence),
                "check the storage by hand, or run preflight with --write-probes",
                **figures,
            )
        elif fact.location is DiskLocation.UNREACHABLE:
            yield report_warning(
                finding_id, message, "make the storage reachable from both hosts", **figures
            )
        else:
            yield report_ok(finding_id, message, **figures)


def check_disk_reachability(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether both hosts use the same disks (LM-PRE-02.storage).

    The plan must copy every disk not shared by both hosts.
    """
    finding_id = "LM-PRE-02.storage"
    copied_disks = storage.copied_disks
    unreachable_disks = [
        fact for fact in storage.disks if fact.location is DiskLocation.UNREACHABLE
    ]
    uncopied_disks = [
        fact
        for fact in storage.disks
        if fact.location is DiskLocation.LOCAL and fact not in copied_disks
    ]
    ambiguous_disks = [fact for fact in storage.disks if fact.location is DiskLocation.AMBIGUOUS]
    figures = {fact.disk.target: fact.location.value for fact in storage.disks}
    if unreachable_disks:
        yield report_refusal(
            finding_id,
            f"not reachable from both hosts: {_format_evidence(unreachable_disks)}",
            "make the storage reachable from both hosts",
            **figures,
        )
    elif uncopied_disks:
        yield report_refusal(
            finding_id,
            f"the plan does not copy disks that are only on {storage.source}: "
            f"{_format_evidence(uncopied_disks)}",
            "copy the disks (`--copy-storage all`), or use storage that both hosts can reach",
            **figures,
        )
    elif ambiguous_disks:
        yield report_unknown(
            finding_id,
            "whether both hosts use the same disks",
            Missing(_format_evidence(ambiguous_disks)),
        )
    else:
        common_count = sum(fact.location.is_common for fact in storage.disks)
        copy_count = len(storage.disks) - common_count
        yield report_ok(
            finding_id,
            f"{common_count} disks are reachable from both hosts, {copy_count} will be copied",
            **figures,
        )


def check_free_space(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination has enough free space for the copies (LM-PRE-04.storage).

    A disk used by both hosts needs no space. The check adds up the needed space per mount
    point.
    """
    finding_id = "LM-PRE-04.storage"
    separate_disks = [fact for fact in storage.disks if not fact.location.is_common]
    if not separate_disks:
        yield report_ok(finding_id, "no disk needs free space on the destination", needed_mib=0)
        return
    for fact in separate_disks:
        if not isinstance(fact.space, CopySpace):
            missing = fact.space or Missing("not measured")
            yield report_unknown(
                finding_id, f"whether there is enough space for {fact.disk.target}", missing
            )
    space_by_mount_point: dict[str, tuple[int, int]] = {}
    for space in (fact.space for fact in separate_disks):
        if isinstance(space, CopySpace):
            total_mib = space_by_mount_point.get(space.mount_point, (0, 0))[0] + space.needed_mib
            space_by_mount_point[space.mount_point] = total_mib, space.available_mib
    for mount_point, (needed_mib, available_mib) in space_by_mount_point.items():
        yield _compare_space(
            finding_id, f"{storage.destination}:{mount_point}", needed_mib, available_mib
        )


def check_copy_onto_itself(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether source and destination of a copy are the same image (LM-NSS-01.image)."""
    finding_id = "LM-NSS-01.image"
    common_disks = [fact for fact in storage.copied_disks if fact.location.is_common]
    ambiguous_disks = [
        fact for fact in storage.copied_disks if fact.location is DiskLocation.AMBIGUOUS
    ]
    if common_disks:
        yield report_refusal(
            finding_id,
            f"source and destination are the same image: {_format_evidence(common_disks)}",
            f"copy only the disks that are local to {storage.source}, with --migrate-disks",
            **{fact.disk.target: fact.evidence for fact in common_disks},
        )
    elif ambiguous_disks:
        yield report_unknown(
            finding_id,
            "whether a disk would be copied onto itself",
            Missing(_format_evidence(ambiguous_disks)),
        )
    elif storage.copied_disks:
        yield report_ok(
            finding_id, f"{len(storage.copied_disks)} disks, each copied to a separate image"
        )


def check_shareable_disks(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the plan copies a shareable disk (LM-NSS-02.shareable).

    Several guests may write to a shareable disk. A copy would separate the guest from the
    others.
    """
    shareable_disks = [fact for fact in storage.copied_disks if fact.disk.shareable]
    if shareable_disks:
        yield report_refusal(
            "LM-NSS-02.shareable",
            f"the plan copies shareable disks: {_format_targets(shareable_disks)}",
            "remove them from --migrate-disks, and put them on storage that both hosts can reach",
        )
    elif storage.copied_disks:
        yield report_ok("LM-NSS-02.shareable", "no copied disk is shareable")


def check_destination_is_file(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether each copy goes to a file, never to a raw device (LM-NSS-03.file)."""
    non_file_copies = [
        f"{fact.disk.target} to {copy_destination.path}"
        for fact, copy_destination in _iterate_copy_destinations(storage)
        if copy_destination.kind in {PathKind.DEVICE, PathKind.OTHER}
    ]
    if non_file_copies:
        yield report_refusal(
            "LM-NSS-03.file",
            f"on {storage.destination} the copy would not go to a file: "
            f"{', '.join(non_file_copies)}",
            "create a file with the same name, format and size on the destination",
        )
    elif storage.copied_disks:
        yield report_ok("LM-NSS-03.file", "every copy goes to a file")


def check_image_sizes(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether an existing destination image has the disk's size (LM-NSS-04.size).

    The check compares the virtual sizes, exact to the byte.
    """
    finding_id = "LM-NSS-04.size"
    has_mismatch = False
    for fact, source_image, destination_image in _iterate_image_pairs(storage):
        if source_image.virtual_size != destination_image.virtual_size:
            has_mismatch = True
            comparison = (
                "larger"
                if destination_image.virtual_size > source_image.virtual_size
                else "smaller"
            )
            yield report_refusal(
                finding_id,
                f"{fact.disk.target} has {source_image.virtual_size} bytes, its image on "
                f"{storage.destination} has {destination_image.virtual_size} bytes and is "
                f"{comparison}",
                f"create that image again with {source_image.virtual_size} bytes",
                source_bytes=source_image.virtual_size,
                destination_bytes=destination_image.virtual_size,
            )
    if storage.copied_disks and not has_mismatch:
        yield report_ok(finding_id, "no image on the destination has a different size")


def check_disk_count(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination has as many disks as the source (LM-NSS-05.count).

    If the plan holds a definition for the destination, both definitions must have the same disk
    targets. If the images must exist before the migration, every copied disk needs an image.
    """
    finding_id = "LM-NSS-05.count"
    destination_targets = storage.destination_targets
    if destination_targets is not None and set(destination_targets) != set(storage.disk_targets):
        yield report_refusal(
            finding_id,
            f"{len(storage.disk_targets)} disks on {storage.source} "
            f"({', '.join(storage.disk_targets)}), {len(destination_targets)} in the definition "
            f"for {storage.destination} ({', '.join(destination_targets)})",
            "list the same disks in the definition for the destination",
            source=len(storage.disk_targets),
            destination=len(destination_targets),
        )
        return
    if not storage.copied_disks:
        return
    if storage.plan.destination_images is DestinationImages.CREATED:
        yield report_ok(
            finding_id,
            f"{len(storage.copied_disks)} images will be created before the migration",
        )
        return
    missing_images = [
        fact
        for fact, copy_destination in _iterate_copy_destinations(storage)
        if copy_destination.kind is PathKind.ABSENT
    ]
    present_count = len(storage.copied_disks) - len(missing_images)
    figures = {"source": len(storage.copied_disks), "destination": present_count}
    if missing_images:
        yield report_refusal(
            finding_id,
            f"{len(storage.copied_disks)} disks are copied, {present_count} images exist on "
            f"{storage.destination}; no image for {_format_targets(missing_images)}",
            "create the missing images first, or let migqual create them "
            "(destination_images: created)",
            **figures,
        )
    else:
        yield report_ok(finding_id, f"{present_count} disks, {present_count} images", **figures)


def check_disk_selection(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether a copied disk is shared, read-only or empty (LM-NSS-06.set).

    The check refuses a plan with such a disk.
    """
    finding_id = "LM-NSS-06.set"
    named_targets = storage.plan.migrate_disks
    targets_with_medium = {fact.disk.target for fact in storage.disks}
    problems = [
        *(
            f"{fact.disk.target} is read-only"
            for fact in storage.copied_disks
            if fact.disk.readonly
        ),
        *(
            f"{fact.disk.target} is shareable"
            for fact in storage.copied_disks
            if fact.disk.shareable
        ),
        *(
            f"{fact.disk.target} is {fact.location}"
            for fact in storage.copied_disks
            if named_targets and fact.location.is_common
        ),
        *(
            f"{target} is empty"
            for target in named_targets
            if target in storage.disk_targets and target not in targets_with_medium
        ),
    ]
    if problems:
        copyable_disks = [
            fact
            for fact in storage.disks
            if fact.disk.is_copied_by_default and not fact.location.is_common
        ]
        yield report_refusal(
            finding_id,
            f"the plan copies disks that must not be copied: {', '.join(problems)}",
            f"copy only {_format_targets(copyable_disks) or 'disks that are not shared'}",
        )
    elif storage.copied_disks:
        yield report_ok(
            finding_id, f"{_format_targets(storage.copied_disks)}: no disk is shared or read-only"
        )


def check_destination_images(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination can hold the image of each copy (LM-LOC-01.image).

    Either an image can be created at the destination path, or the right image exists already.
    """
    problems = [
        (fact, *problem)
        for fact, copy_destination in _iterate_copy_destinations(storage)
        if (problem := _find_copy_problem(storage, fact, copy_destination))
    ]
    for fact, message, remedy in problems:
        yield report_refusal("LM-LOC-01.image", f"{fact.disk.target}: {message}", remedy)
    for fact in storage.copied_disks:
        if isinstance(fact.copy_destination, Missing):
            yield report_unknown(
                "LM-LOC-01.image",
                f"where {fact.disk.target} would be copied",
                fact.copy_destination,
            )
    if storage.copied_disks and not problems:
        yield report_ok("LM-LOC-01.image", "every copy has a valid destination")


def check_disk_names(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the guest has all disks named in the plan (LM-LOC-02.disks)."""
    unknown_targets = [
        target for target in storage.plan.migrate_disks if target not in storage.disk_targets
    ]
    if unknown_targets:
        yield report_refusal(
            "LM-LOC-02.disks",
            f"the guest has no disk {', '.join(unknown_targets)}",
            f"name only disks that the guest has: {', '.join(storage.disk_targets) or 'none'}",
        )
    elif storage.plan.migrate_disks:
        yield report_ok("LM-LOC-02.disks", "the guest has every disk that the plan names")


def _find_copy_problem(
    storage: StorageFacts, fact: DiskFact, copy_destination: CopyDestination
) -> tuple[str, str] | None:
    """Return the problem at a copy's destination, and the remedy; None without a problem."""
    destination_path = f"{storage.destination}:{copy_destination.path}"
    source_image, destination_image = fact.image, copy_destination.image
    if isinstance(source_image, ImageInfo) and source_image.encrypted:
        return (
            f"{fact.disk.source} is encrypted",
            "copy the disk with another tool: migqual does not know its secret",
        )
    if fact.location.is_common or copy_destination.kind in {PathKind.DEVICE, PathKind.OTHER}:
        return None  # told by others
    if copy_destination.kind is PathKind.ABSENT:
        return _find_folder_problem(
            storage, copy_destination, destination_path
        ) or _find_backing_problem(storage, fact)
    if copy_destination.in_use:
        return (
            f"{destination_path} is in use by another guest",
            "choose another name, or stop that guest",
        )
    if storage.plan.destination_images is DestinationImages.CREATED:
        return (
            f"{destination_path} already exists and would be overwritten",
            "remove the file, or set destination_images: present in the plan",
        )
    if (
        isinstance(source_image, ImageInfo)
        and isinstance(destination_image, ImageInfo)
        and source_image.format != destination_image.format
    ):
        return (
            (
                f"the image format is {source_image.format} on {storage.source}, "
                f"but {destination_image.format} at {destination_path}"
            ),
            f"create the image at the destination again as {source_image.format}",
        )
    return _find_backing_problem(storage, fact)


def _find_folder_problem(
    storage: StorageFacts, copy_destination: CopyDestination, destination_path: str
) -> tuple[str, str] | None:
    if storage.plan.destination_images is DestinationImages.EXISTING:
        return None  # told by the count
    if copy_destination.folder_state is FolderState.MISSING:
        return f"{destination_path}: no such folder", "create the folder, or mount its file system"
    if copy_destination.folder_state is FolderState.READ_ONLY:
        return f"{destination_path}: the folder is not writable", "mount its file system read-write"
    return None


def _find_backing_problem(storage: StorageFacts, fact: DiskFact) -> tuple[str, str] | None:
    if storage.plan.copy_storage is not StorageCopy.INCREMENTAL:
        return None
    image = fact.image
    if (
        not isinstance(image, ImageInfo)
        or not image.backing_file
        or fact.backing_file_equal is True
    ):
        return None
    reason = (
        fact.backing_file_equal.reason
        if isinstance(fact.backing_file_equal, Missing)
        else "it is missing or different"
    )
    return (
        f"{storage.destination} does not have the same backing file {image.backing_file}: {reason}",
        "copy the backing file to that host first, or copy the whole disk (`--copy-storage all`)",
    )


def _iterate_copy_destinations(storage: StorageFacts) -> Iterator[tuple[DiskFact, CopyDestination]]:
    for fact in storage.copied_disks:
        if isinstance(fact.copy_destination, CopyDestination):
            yield fact, fact.copy_destination


def _iterate_image_pairs(storage: StorageFacts) -> Iterator[tuple[DiskFact, ImageInfo, ImageInfo]]:
    for fact, copy_destination in _iterate_copy_destinations(storage):
        if isinstance(fact.image, ImageInfo) and isinstance(copy_destination.image, ImageInfo):
            yield fact, fact.image, copy_destination.image


def _compare_space(
    finding_id: str, mount_path: str, needed_mib: int, available_mib: int
) -> Finding:
    message = f"{needed_mib} MiB of storage needed, {available_mib} MiB available at {mount_path}"
    if available_mib >= needed_mib:
        return report_ok(finding_id, message, needed_mib=needed_mib, available_mib=available_mib)
    remedy = f"free {needed_mib - available_mib} MiB at {mount_path}"
    return report_refusal(
        finding_id, message, remedy, needed_mib=needed_mib, available_mib=available_mib
    )


def _format_targets(facts: Iterable[DiskFact]) -> str:
    return ", ".join(fact.disk.target for fact in facts)


def _format_evidence(facts: Iterable[DiskFact]) -> str:
    return "; ".join(f"{fact.disk.target} ({fact.evidence})" for fact in facts)
