"""`migqual params GUEST`: the migration parameters of a guest, beside the documented defaults."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from migqual.commands import _move as move
from migqual.errors import MigqualError, UsageError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.model import documented
from migqual.model.documented import Row

_HEAD = ("parameter", "in force", "documented default", "")
_LACKING = "lacking"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "params",
        description="Every parameter that the documentation names, with its value or `lacking`, "
        "then those that this QEMU has besides. Asks QEMU's monitor, which libvirt notes as "
        "tainting the domain. Exit code 0; 1 when the guest cannot be asked, 2 on bad input.",
    )
    parser.add_argument("guest", metavar="GUEST", help="name of a domain, ours or not")
    parser.add_argument("--source", metavar="HOST", help="where it is (default: it is looked for)")
    move.add_inventory(parser)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the guest's QEMU, and print."""
    try:
        rows = _rows(arguments)
    except UsageError as error:
        print(f"migqual params: {error}", file=sys.stderr)
        return 2
    except MigqualError as error:
        print(f"migqual params: {error}", file=sys.stderr)
        return 1
    print(as_json(rows) if arguments.json else "\n".join(as_table(rows)))
    return 0


def as_json(rows: Sequence[Row]) -> str:
    """A list of objects: name, value (null where it is lacking), default."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def as_table(rows: Sequence[Row]) -> Iterator[str]:
    """One line per parameter: its value, the documented default, and whether they differ."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(_HEAD))]
    for row in cells:
        yield "  ".join(f"{word:<{wide}}" for word, wide in zip(row, widths, strict=True)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    value = _LACKING if row.value is None else json.dumps(row.value)
    if row.name == "max-bandwidth" and isinstance(row.value, int):
        mib_s = row.value / documented.MIB
        value += f" ({mib_s:.0f} MiB/s, {documented.mbit_s(mib_s):.0f} Mbit/s)"
    default = "" if row.default is None else json.dumps(row.default)
    return row.name, value, default, "differs" if row.differs else ""


def _rows(arguments: argparse.Namespace) -> tuple[Row, ...]:
    inventory = move.inventory_of(arguments.inventory)
    names = move.hypervisors(inventory, [arguments.source] if arguments.source else [])
    with ExitStack() as stack:
        for name in names:
            host = stack.enter_context(Host(inventory.host(name)))
            domain = host.libvirt.lookup(arguments.guest)
            if domain is not None and domain.state() != "off":
                return _ask(domain)
    raise UsageError(
        f"no guest {arguments.guest!r} runs on {', '.join(names)}",
        remedy="name a domain that `virsh list` shows on a host of the inventory",
    )


def _ask(domain: Domain) -> tuple[Row, ...]:
    return tuple(documented.rows(domain.monitor("query-migrate-parameters")))
