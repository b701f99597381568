"""Pure checks of the disks that a plan copies: LM-NSS-01, 02, 05, 06 and LM-LOC-02.

The checks yield no finding where the plan copies no disk. Only LM-NSS-05 then still compares
the disks of both definitions.
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
    """Check whether source and destination of a copy are the same image (LM-NSS-01.image)."""
    finding_id = "LM-NSS-01.image"
    common_disks = [fact for fact in storage.copied_disks if fact.location.is_common]
    ambiguous_disks = [
        fact for fact in storage.copied_disks if fact.location is DiskLocation.AMBIGUOUS
    ]
    if common_disks:
        yield report_refusal(
            finding_id,
            f"source and destination are the same image: {format_disk_evidence(common_disks)}",
            f"copy only the disks that are local to {storage.source}, with --migrate-disks",
            **{fact.disk.target: fact.evidence for fact in common_disks},
        )
    elif ambiguous_disks:
        yield report_unknown(
            finding_id,
            "whether a disk would be copied onto itself",
            Missing(format_disk_evidence(ambiguous_disks)),
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
            f"the plan copies shareable disks: {format_disk_targets(shareable_disks)}",
            "remove them from --migrate-disks, and put them on storage that both hosts can reach",
        )
    elif storage.copied_disks:
        yield report_ok("LM-NSS-02.shareable", "no copied disk is shareable")


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
        for fact, copy_destination in storage.copy_destinations
        if copy_destination.kind is PathKind.ABSENT
    ]
    present_count = len(storage.copied_disks) - len(missing_images)
    figures = {"source": len(storage.copied_disks), "destination": present_count}
    if missing_images:
        yield report_refusal(
            finding_id,
            f"{len(storage.copied_disks)} disks are copied, {present_count} images exist on "
            f"{storage.destination}; no image for {format_disk_targets(missing_images)}",
            "create the missing images first, or let migqual create them: in a test with "
            "Plan(destination_images=DestinationImages.CREATED)",
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
            f"copy only {format_disk_targets(copyable_disks) or 'disks that are not shared'}",
        )
    elif storage.copied_disks:
        yield report_ok(
            finding_id,
            f"{format_disk_targets(storage.copied_disks)}: no disk is shared or read-only",
        )


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
