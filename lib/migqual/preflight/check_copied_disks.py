"""Check the disks that the plan of a migration copies. The functions have no side effects.

The checks belong to the requirements LM-NSS-01, -02, -05, -06 and LM-LOC-02. A plan that copies no
disk gets no finding, with one exception. If the plan contains a domain XML for the destination, and
the disk targets in this XML differ from the disk targets of the guest, LM-NSS-05 is refused.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import DestinationImages
from migqual.preflight.findings import report_ok, report_refusal, report_unknown
from migqual.preflight.storage_facts import (
    DiskLocation,
    StorageFacts,
    format_disk_evidence,
    format_disk_targets,
)
from migqual.probes.disk_images import PathKind
from migqual.probes.fact import Missing


def check_copy_onto_itself(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the plan copies a disk onto its own image (LM-NSS-01.image)."""
    finding_id = "LM-NSS-01.image"
    common_disks = [fact for fact in storage.copied_disks if fact.location.is_common]
    ambiguous_disks = [
        fact for fact in storage.copied_disks if fact.location is DiskLocation.AMBIGUOUS
    ]
    if common_disks:
        yield report_refusal(
            finding_id,
            f"the plan copies a disk onto its own image: {format_disk_evidence(common_disks)}",
            f"use --migrate-disks to name only disks that are local to {storage.source}",
            **{fact.disk.target: fact.evidence for fact in common_disks},
        )
    elif ambiguous_disks:
        yield report_unknown(
            finding_id,
            "cannot determine whether the plan copies a disk onto its own image",
            Missing(format_disk_evidence(ambiguous_disks)),
        )
    elif storage.copied_disks:
        yield report_ok(
            finding_id,
            f"each of the {len(storage.copied_disks)} copied disks has a separate image on "
            f"{storage.destination}",
        )


def check_shareable_disks(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the plan copies a shareable disk (LM-NSS-02.shareable).

    Several guests may write to a shareable disk. After a copy, the migrated guest would write to
    a different image than the other guests.
    """
    shareable_disks = [fact for fact in storage.copied_disks if fact.disk.shareable]
    if shareable_disks:
        yield report_refusal(
            "LM-NSS-02.shareable",
            f"the plan copies shareable disks: {format_disk_targets(shareable_disks)}",
            "put shareable disks on shared storage, and name the other disks with --migrate-disks",
        )
    elif storage.copied_disks:
        yield report_ok("LM-NSS-02.shareable", "no copied disk is shareable")


def check_disk_count(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the guest keeps all its disks at the destination (LM-NSS-05.count).

    If the plan contains a domain XML for the destination, the XML must have the disk targets of
    the guest. If migqual does not create the images of the copied disks, these images must exist
    at the destination.
    """
    finding_id = "LM-NSS-05.count"
    destination_targets = storage.destination_targets
    if destination_targets is not None and set(destination_targets) != set(storage.disk_targets):
        yield report_refusal(
            finding_id,
            f"the guest has the disks {', '.join(storage.disk_targets)}, but the plan's domain XML "
            f"for {storage.destination} has {', '.join(destination_targets) or 'no disk'}",
            f"list the same disks in the plan's domain XML for {storage.destination}",
            source=len(storage.disk_targets),
            destination=len(destination_targets),
        )
        return
    if not storage.copied_disks:
        return
    if storage.plan.destination_images is DestinationImages.CREATED:
        yield report_ok(
            finding_id,
            f"migqual will create {len(storage.copied_disks)} images on {storage.destination}",
        )
        return
    missing_images = [
        fact
        for fact, copy_destination in storage.copy_destinations
        if copy_destination.kind is PathKind.ABSENT
    ]
    present_count = len(storage.copied_disks) - len(missing_images)
    figures = {"source": len(storage.copied_disks), "destination": present_count}
    if missing_images:
        yield report_refusal(
            finding_id,
            f"the plan copies {len(storage.copied_disks)} disks, but {storage.destination} has "
            f"no image for {format_disk_targets(missing_images)}",
            "create the missing images, or let migqual create all images with "
            "Plan(destination_images=DestinationImages.CREATED)",
            **figures,
        )
    else:
        yield report_ok(
            finding_id,
            f"{storage.destination} has an image for each of the {present_count} copied disks",
            **figures,
        )


def check_disk_selection(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the plan copies a disk that must not be copied (LM-NSS-06.set).

    The plan must not copy a read-only disk or a shareable disk. If the plan names the disks to
    copy, the plan must also not name an empty drive or a disk that both hosts use.
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
            f"{target} is an empty drive"
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
            f"copy only {format_disk_targets(copyable_disks) or 'local disks'}",
        )
    elif storage.copied_disks:
        yield report_ok(
            finding_id,
            f"the copied disks ({format_disk_targets(storage.copied_disks)}) are neither "
            "read-only nor shareable",
        )


def check_disk_names(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the guest has all disks that the plan names (LM-LOC-02.disks)."""
    unknown_targets = [
        target for target in storage.plan.migrate_disks if target not in storage.disk_targets
    ]
    if unknown_targets:
        yield report_refusal(
            "LM-LOC-02.disks",
            f"the plan names disks that the guest does not have: {', '.join(unknown_targets)}",
            f"name only disks of the guest: {', '.join(storage.disk_targets) or 'none'}",
        )
    elif storage.plan.migrate_disks:
        yield report_ok("LM-LOC-02.disks", "the guest has every disk that the plan names")
