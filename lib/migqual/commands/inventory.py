"""`migqual inventory check|show|from-mugen`.

Handlers return an exit code: 0, or 1 where a host does not answer as it should. What is wrong with
a file is raised (`UsageError`, exit code 2).
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from migqual.errors import UsageError
from migqual.model.finding import Finding, Severity
from migqual.model.inventory import Inventory
from migqual.model.inventory_file import load_inventory
from migqual.model.inventory_tree import OVERRIDES
from migqual.model.mugen import from_mugen

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

Connect = Callable[[Inventory], Sequence[Finding]]
"""Reaches every host by SSH and every hypervisor's libvirt; one finding or more per host."""


def register(subparsers: "Subparsers", connect: Connect) -> None:
    """Add the command. What was chosen is `args.run`: arguments -> exit code."""
    command = subparsers.add_parser("inventory")
    command.add_argument(
        "--from-mugen", type=Path, metavar="ENV_JSON", help="the same as `inventory from-mugen`"
    )
    command.set_defaults(run=partial(_alone, command))
    actions = command.add_subparsers(metavar="ACTION")

    check = actions.add_parser("check", help="say what is wrong with it, then connect to its hosts")
    check.add_argument("--offline", action="store_true", help="connect to nothing")
    check.set_defaults(run=partial(check_inventory, connect=connect))
    show = actions.add_parser("show", help="print every value in force and where it came from")
    show.set_defaults(run=show_inventory)
    for action in (check, show):
        action.add_argument("file", type=Path, metavar="FILE")
        action.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            dest="assignments",
            help=f"a value that wins over the file; names: {', '.join(OVERRIDES)}",
        )

    convert = actions.add_parser("from-mugen", help="print an inventory made from an env.json")
    convert.add_argument("file", type=Path, metavar="ENV_JSON")
    convert.set_defaults(run=convert_mugen)


def check_inventory(args: argparse.Namespace, connect: Connect) -> int:
    """Say what the inventory holds; unless offline, connect to all of it."""
    inventory = load_inventory(args.file, assignments=args.assignments)
    _print(("what", "names"), _contents(inventory))
    if args.offline:
        print(f"\n{args.file}: in order; nothing was connected to")
        return 0
    findings = connect(inventory)
    rows = [(finding.id, finding.verdict, finding.words, finding.remedy) for finding in findings]
    print()
    _print(("check", "verdict", "found", "remedy"), rows)
    bad = [f for f in findings if f.verdict in {Severity.REFUSED, Severity.UNKNOWN}]
    print(f"\n{args.file}: {len(findings) - len(bad)} of {len(findings)} checks passed")
    return 1 if bad or not findings else 0


def show_inventory(args: argparse.Namespace) -> int:
    """Print every value in force and its origin."""
    inventory = load_inventory(args.file, assignments=args.assignments)
    rows = [(s.scope, s.name, s.value, s.origin) for s in inventory.settings]
    _print(("of", "name", "value", "from"), rows)
    return 0


def convert_mugen(args: argparse.Namespace) -> int:
    """Print the inventory made from an ``env.json``."""
    print(from_mugen(args.file), end="")
    return 0


def _alone(command: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """`inventory` without an action."""
    if args.from_mugen is None:
        raise UsageError("inventory: nothing to do", remedy=command.format_usage().strip())
    print(from_mugen(args.from_mugen), end="")
    return 0


def _contents(inventory: Inventory) -> list[tuple[str, str]]:
    roles = (
        (host.name, "+".join(sorted(host.roles)) or "no group we know")
        for host in inventory.hosts.values()
    )
    return [
        ("hosts", ", ".join(f"{name} ({role})" for name, role in roles)),
        ("pairs", ", ".join(pair.id for pair in inventory.pairs)),
        ("stores", ", ".join(f"{s.name} ({s.kind})" for s in inventory.stores) or "none"),
        ("client", inventory.client.name if inventory.client else "none: gaps are not measured"),
        (
            "service network",
            str(inventory.service_network.network) if inventory.service_network else "none",
        ),
        ("tier", inventory.tier),
        ("acceleration", inventory.acceleration),
    ]


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose columns are as wide as they must be."""
    table = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
