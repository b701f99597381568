"""Pure checks of the images at the destination of a copy: LM-NSS-03, LM-NSS-04 and LM-LOC-01.

The checks yield no finding where the plan copies no disk.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import DestinationImages, StorageCopy
from migqual.preflight.findings import report_ok, report_refusal, report_unknown
from migqual.preflight.storage_facts import DiskFact, StorageFacts
from migqual.probes.disk_images import CopyDestination, FolderState, ImageInfo, PathKind
from migqual.probes.fact import Missing


def check_destination_is_file(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether each copy goes to a file, never to a raw device (LM-NSS-03.file)."""
    non_file_copies = [
        f"{fact.disk.target} to {copy_destination.path}"
        for fact, copy_destination in storage.copy_destinations
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


def check_destination_images(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination can hold the image of each copy (LM-LOC-01.image).

    Either an image can be created at the destination path, or the right image exists already.
    """
    problems = [
        (fact, *problem)
        for fact, copy_destination in storage.copy_destinations
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
        return None  # LM-NSS-01 and LM-NSS-03 report these
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
        return None  # LM-NSS-05 reports a missing image
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


def _iterate_image_pairs(storage: StorageFacts) -> Iterator[tuple[DiskFact, ImageInfo, ImageInfo]]:
    for fact, copy_destination in storage.copy_destinations:
        if isinstance(fact.image, ImageInfo) and isinstance(copy_destination.image, ImageInfo):
            yield fact, fact.image, copy_destination.image
