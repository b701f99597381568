"""`migqual storage GUEST DESTINATION`: where each disk is, and what a copy of it would take."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

from migqual.commands import _move as move
from migqual.errors import MigqualError, UsageError
from migqual.model.plan import Plan, StorageCopy
from migqual.preflight import collect
from migqual.preflight.facts import DiskFact, Image, Kind, Space, Storage, Target

_HEAD = ("disk", "place", "format", "size", "allocated", "copied", "destination has", "room")
_MIB = 2**20


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "storage",
        description="One line per disk, the proof of its place below. `copied` is what "
        "--copy-storage-all would take along. Exit code 0 when every place is known, 1 when one is "
        "not, 2 on bad input.",
    )
    move.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, print, and say whether a place is not known."""
    try:
        with move.asked(arguments, Plan(copy_storage=StorageCopy.ALL)) as (asked, tools):
            storage = collect.storage(asked, tools)
    except UsageError as error:
        print(f"migqual storage: {error}", file=sys.stderr)
        return 2
    except MigqualError as error:
        print(f"migqual storage: {error}", file=sys.stderr)
        return 1
    print(as_json(storage) if arguments.json else "\n".join(as_table(storage)))
    return 1 if any(not fact.place.known for fact in storage.disks) else 0


def as_json(storage: Storage) -> str:
    """A list of objects, one per disk."""
    keys = [name.replace(" ", "_") for name in _HEAD]
    rows = [
        dict(zip(keys, _row(storage, fact), strict=True))
        | {"source": fact.disk.source, "evidence": fact.evidence}
        for fact in storage.disks
    ]
    return json.dumps(rows, indent=2)


def as_table(storage: Storage) -> Iterator[str]:
    """Columns as wide as they must be; below each disk its image and the proof of its place."""
    rows = [_HEAD, *(_row(storage, fact) for fact in storage.disks)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    yield _line(_HEAD, widths)
    for fact, row in zip(storage.disks, rows[1:], strict=True):
        yield _line(row, widths)
        yield f"    {fact.disk.source}"
        yield f"    {fact.evidence}"
    if not storage.disks:
        yield "the guest has no disk"


def _row(storage: Storage, fact: DiskFact) -> tuple[str, ...]:
    image = fact.image if isinstance(fact.image, Image) else None
    return (
        fact.disk.target,
        fact.place.value,
        fact.disk.format,
        "" if image is None else _mib(image.virtual_size),
        "" if image is None else _mib(image.allocated),
        "yes" if fact in storage.copied and not fact.place.common else "no",
        _there(fact),
        _room(fact),
    )


def _there(fact: DiskFact) -> str:
    if fact.place.common:
        return "the same"
    if not isinstance(fact.target, Target):
        return "not known"
    if fact.target.kind is Kind.ABSENT:
        return f"nothing ({fact.target.folder} folder)"
    return f"another {fact.target.kind}"


def _room(fact: DiskFact) -> str:
    if fact.place.common:
        return "none needed"
    if not isinstance(fact.space, Space):
        return "not known"
    return f"{fact.space.needed_mib} of {fact.space.available_mib} MiB"


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{word:<{wide}}" for word, wide in zip(row, widths, strict=True)).rstrip()
