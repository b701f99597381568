"""`migqual storage GUEST DESTINATION`: show the location of each disk and the space for a copy."""

import argparse
import json
from collections.abc import Iterator, Sequence

from migqual.commands import _common_arguments as common_arguments
from migqual.commands._error_exit import run_and_report_errors
from migqual.model.plan import Plan, StorageCopy
from migqual.preflight import collect
from migqual.preflight.storage_facts import CopySpace, DiskFact, StorageFacts
from migqual.probes.disk_images import CopyDestination, ImageInfo, PathKind
from migqual.units import MIB

_HEADER = (
    "disk",
    "location",
    "format",
    "size",
    "allocated",
    "copied",
    "destination has",
    "needed space",
)


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `storage`. The handler `run` returns the exit code."""
    parser = subparsers.add_parser(
        "storage",
        description="Prints each disk, its location (for example shared or local), the evidence "
        "for the location, and the space that a copy of the disk needs. The column `copied` shows "
        "whether `--copy-storage-all` copies the disk. Exit code 0 if every location is known, 1 "
        "if a location is unknown, 2 on bad input.",
    )
    common_arguments.add_migration_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Query all disks of the guest on both hosts, and print a table.

    Returns:
        The exit code: 0 when the location of every disk is known; 1 when a location is not
        known, or when no facts can be collected; 2 on bad input.
    """
    return run_and_report_errors("storage", lambda: _print_storage(arguments))


def _print_storage(arguments: argparse.Namespace) -> int:
    with common_arguments.open_migration_request(arguments, Plan(copy_storage=StorageCopy.ALL)) as (
        request,
        probe_context,
    ):
        storage = collect.collect_storage_facts(request, probe_context)
    print(
        render_storage_json(storage) if arguments.json else "\n".join(render_storage_table(storage))
    )
    return 1 if any(not fact.location.is_known for fact in storage.disks) else 0


def render_storage_json(storage: StorageFacts) -> str:
    """Render the storage facts of a guest as a JSON list with one object for each disk."""
    keys = [name.replace(" ", "_") for name in _HEADER]
    rows = [
        dict(zip(keys, _format_row(storage, fact), strict=True))
        | {"source": fact.disk.source, "evidence": fact.evidence}
        for fact in storage.disks
    ]
    return json.dumps(rows, indent=2)


def render_storage_table(storage: StorageFacts) -> Iterator[str]:
    """Yield the lines of the table: the header, then three lines for each disk.

    The three lines are the values of the columns, the path of the image, and the evidence for the
    location of the disk.
    """
    rows = [_HEADER, *(_format_row(storage, fact) for fact in storage.disks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    yield _format_line(_HEADER, widths)
    for fact, row in zip(storage.disks, rows[1:], strict=True):
        yield _format_line(row, widths)
        yield f"    {fact.disk.source}"
        yield f"    {fact.evidence}"
    if not storage.disks:
        yield "the guest has no disk"


def _format_row(storage: StorageFacts, fact: DiskFact) -> tuple[str, ...]:
    image = fact.image if isinstance(fact.image, ImageInfo) else None
    return (
        fact.disk.target,
        fact.location.value,
        fact.disk.format,
        "" if image is None else _format_mib(image.virtual_size),
        "" if image is None else _format_mib(image.allocated_size),
        "yes" if fact in storage.copied_disks and not fact.location.is_common else "no",
        _describe_destination_image(fact),
        _describe_free_space(fact),
    )


def _describe_destination_image(fact: DiskFact) -> str:
    if fact.location.is_common:
        return "the same image"
    if not isinstance(fact.copy_destination, CopyDestination):
        return "not known"
    if fact.copy_destination.kind is PathKind.ABSENT:
        return f"no image ({fact.copy_destination.folder_state} folder)"
    return f"another object ({fact.copy_destination.kind})"


def _describe_free_space(fact: DiskFact) -> str:
    if fact.location.is_common:
        return "none"
    if not isinstance(fact.space, CopySpace):
        return "not known"
    return f"{fact.space.needed_mib} MiB ({fact.space.available_mib} MiB are free)"


def _format_mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


def _format_line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
