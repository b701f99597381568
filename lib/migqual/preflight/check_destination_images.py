"""Check the images at the destination to which a migration copies disks. No side effects.

The checks belong to the requirements LM-NSS-03, LM-NSS-04 and LM-LOC-01. If the plan of the
migration copies no disk, the checks yield no finding.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import DestinationImages, StorageCopy
from migqual.preflight.findings import report_ok, report_refusal, report_unknown
from migqual.preflight.storage_facts import DiskFact, StorageFacts
from migqual.probes.disk_images import CopyDestination, FolderState, ImageInfo, PathKind
from migqual.probes.fact import Missing


def check_destination_is_file(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the plan copies each disk to a file, not to a device (LM-NSS-03.file)."""
    non_file_copies = [
        f"{fact.disk.target} to {copy_destination.path}"
        for fact, copy_destination in storage.copy_destinations
        if copy_destination.kind in {PathKind.DEVICE, PathKind.OTHER}
    ]
    if non_file_copies:
        yield report_refusal(
            "LM-NSS-03.file",
            f"the plan copies disks to paths on {storage.destination} that lead to a device or "
            f"another object instead of a file: {', '.join(non_file_copies)}",
            f"on {storage.destination}, replace the object by a file with the format and size of "
            f"the image on {storage.source}, or choose another path",
        )
    elif storage.copied_disks:
        yield report_ok("LM-NSS-03.file", "the destination of each copied disk is a file")


def check_image_sizes(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the image of a copied disk has the same size on both hosts (LM-NSS-04.size).

    The virtual sizes must be equal in bytes. The check ignores an image that does not exist at the
    destination.
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
                f"the image of {fact.disk.target} on {storage.destination} is {comparison}: "
                f"{destination_image.virtual_size} bytes, but {source_image.virtual_size} bytes "
                f"on {storage.source}",
                f"create the image on {storage.destination} again with "
                f"{source_image.virtual_size} bytes",
                source_bytes=source_image.virtual_size,
                destination_bytes=destination_image.virtual_size,
            )
    if storage.copied_disks and not has_mismatch:
        yield report_ok(
            finding_id,
            f"each image that exists on {storage.destination} has the size of the image on "
            f"{storage.source}",
        )


def check_destination_images(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination path of each copied disk is usable (LM-LOC-01.image).

    A path is usable when migqual can create the image, or when a suitable image exists.
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
                f"cannot determine whether {fact.disk.target} can be copied to "
                f"{storage.destination}",
                fact.copy_destination,
            )
    if storage.copied_disks and not problems:
        yield report_ok(
            "LM-LOC-01.image",
            "at the destination path of each copied disk, migqual can create the image, or a "
            "suitable image exists",
        )


def _find_copy_problem(
    storage: StorageFacts, fact: DiskFact, copy_destination: CopyDestination
) -> tuple[str, str] | None:
    """Return a message and a remedy if the disk cannot be copied, otherwise None."""
    destination_path = f"{storage.destination}:{copy_destination.path}"
    source_image, destination_image = fact.image, copy_destination.image
    if isinstance(source_image, ImageInfo) and source_image.encrypted:
        return (
            f"{fact.disk.source} is encrypted",
            "copy the disk with another tool: migqual does not know the secret of the image",
        )
    if fact.location.is_common or copy_destination.kind in {PathKind.DEVICE, PathKind.OTHER}:
        return None  # LM-NSS-01 reports a common disk, LM-NSS-03 a path that is not a file
    if copy_destination.kind is PathKind.ABSENT:
        return _find_folder_problem(
            storage, copy_destination, destination_path
        ) or _find_backing_problem(storage, fact)
    if copy_destination.in_use:
        return (
            f"{destination_path} is in use by another guest",
            "choose another file name, or stop the guest that uses the file",
        )
    if storage.plan.destination_images is DestinationImages.CREATED:
        return (
            f"{destination_path} already exists and would be overwritten",
            "remove the file, or use Plan(destination_images=DestinationImages.EXISTING)",
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
            f"create the image on {storage.destination} again in the format {source_image.format}",
        )
    return _find_backing_problem(storage, fact)


def _find_folder_problem(
    storage: StorageFacts, copy_destination: CopyDestination, destination_path: str
) -> tuple[str, str] | None:
    if storage.plan.destination_images is DestinationImages.EXISTING:
        return None  # LM-NSS-05 reports a missing image
    if copy_destination.folder_state is FolderState.MISSING:
        return (
            f"the folder of the image {destination_path} does not exist",
            f"on {storage.destination}, create the folder, or mount the file system of the folder",
        )
    if copy_destination.folder_state is FolderState.READ_ONLY:
        return (
            f"the folder of the image {destination_path} is not writable",
            f"on {storage.destination}, mount the file system of the folder read-write",
        )
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
        else "the backing file is missing or has different contents"
    )
    return (
        f"{storage.destination} does not have the same backing file {image.backing_file}: {reason}",
        f"copy the backing file to {storage.destination}, or use `--copy-storage all`",
    )


def _iterate_image_pairs(storage: StorageFacts) -> Iterator[tuple[DiskFact, ImageInfo, ImageInfo]]:
    for fact, copy_destination in storage.copy_destinations:
        if isinstance(fact.image, ImageInfo) and isinstance(copy_destination.image, ImageInfo):
            yield fact, fact.image, copy_destination.image
