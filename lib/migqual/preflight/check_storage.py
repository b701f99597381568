"""Check whether both hosts use the same disks, and whether the destination has space for copies.

The checks are LM-SHR-01, LM-PRE-02.storage and LM-PRE-04.storage. The functions have no side
effects.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.preflight.findings import report_ok, report_refusal, report_unknown, report_warning
from migqual.preflight.storage_facts import (
    CopySpace,
    DiskLocation,
    StorageFacts,
    format_disk_evidence,
)
from migqual.probes.fact import Missing


def check_disk_locations(storage: StorageFacts) -> Iterator[Finding]:
    """Report for each disk whether both hosts use the same disk (LM-SHR-01).

    The location of a disk is shared, remote, local, unreachable or ambiguous. The severity of the
    finding is `unknown` for an ambiguous location, `warning` for an unreachable disk, and `ok` for
    all other locations.
    """
    for fact in storage.disks:
        finding_id = f"LM-SHR-01.{fact.disk.target}"
        message = f"{fact.disk.target} is {fact.location}: {fact.evidence}"
        figures = {"location": fact.location.value, "source": fact.disk.source}
        if fact.location is DiskLocation.AMBIGUOUS:
            yield report_unknown(
                finding_id,
                f"cannot determine whether both hosts use the same disk {fact.disk.target}",
                Missing(fact.evidence),
                "check by hand whether both hosts open the same disk, or run preflight with "
                "--write-probes",
                **figures,
            )
        elif fact.location is DiskLocation.UNREACHABLE:
            yield report_warning(
                finding_id,
                message,
                f"give both hosts access to the network disk {fact.disk.target}",
                **figures,
            )
        else:
            yield report_ok(finding_id, message, **figures)


def check_disk_reachability(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the guest can use all disks at the destination (LM-PRE-02.storage).

    Each disk must be shared or remote, or the plan must copy the disk.
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
            f"a host cannot open these disks: {format_disk_evidence(unreachable_disks)}",
            "give both hosts access to these disks",
            **figures,
        )
    elif uncopied_disks:
        yield report_refusal(
            finding_id,
            f"the plan does not copy disks that are only on {storage.source}: "
            f"{format_disk_evidence(uncopied_disks)}",
            "copy the disks (`--copy-storage all`), or use storage that both hosts can reach",
            **figures,
        )
    elif ambiguous_disks:
        yield report_unknown(
            finding_id,
            "cannot determine whether both hosts use the same disks",
            Missing(format_disk_evidence(ambiguous_disks)),
        )
    else:
        common_count = sum(fact.location.is_common for fact in storage.disks)
        copy_count = len(storage.disks) - common_count
        yield report_ok(
            finding_id,
            f"{common_count} disks are the same on both hosts, and the plan copies {copy_count} "
            "disks",
            **figures,
        )


def check_free_space(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether the destination has space for the copies of the disks (LM-PRE-04.storage).

    A disk that both hosts use needs no space. The check adds up the needed space for each mount
    point of the destination.
    """
    finding_id = "LM-PRE-04.storage"
    separate_disks = [fact for fact in storage.disks if not fact.location.is_common]
    if not separate_disks:
        yield report_ok(finding_id, "no disk needs free space on the destination", needed_mib=0)
        return
    for fact in separate_disks:
        if not isinstance(fact.space, CopySpace):
            missing = fact.space or Missing("the space was not measured")
            yield report_unknown(
                finding_id,
                f"cannot determine whether {storage.destination} has enough space for "
                f"{fact.disk.target}",
                missing,
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


def _compare_space(
    finding_id: str, mount_path: str, needed_mib: int, available_mib: int
) -> Finding:
    message = (
        f"the copies of the disks need {needed_mib} MiB, and {available_mib} MiB are free at "
        f"{mount_path}"
    )
    if available_mib >= needed_mib:
        return report_ok(finding_id, message, needed_mib=needed_mib, available_mib=available_mib)
    remedy = f"free {needed_mib - available_mib} MiB at {mount_path}"
    return report_refusal(
        finding_id, message, remedy, needed_mib=needed_mib, available_mib=available_mib
    )
