"""`migqual inventory check|show|from-mugen`: check, print or convert an inventory.

Each action, for example `check`, has a function that returns the exit code: 0, or 1 if a check of a
host fails. An error in a file raises `UsageError`, which gives exit code 2.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from migqual.errors import UsageError
from migqual.inventory.entities import Inventory
from migqual.inventory.file import load_inventory
from migqual.inventory.group_tree import OVERRIDE_VARIABLES
from migqual.inventory.mugen import render_mugen_inventory
from migqual.model.finding import Finding, Severity

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

Connect = Callable[[Inventory], Sequence[Finding]]
"""A function that logs in to every host with SSH and connects to libvirt on every hypervisor.

The function returns a finding, which is the result of a check, for each connection.
"""


def register(subparsers: "Subparsers", connect: Connect) -> None:
    """Add the command `inventory` with the actions `check`, `show` and `from-mugen`.

    In the parsed arguments, `run` is the function that executes the selected action.

    Args:
        subparsers: The subparsers of `migqual`.
        connect: Connects to all hosts of an inventory and returns the results of the checks.
    """
    parser = subparsers.add_parser(
        "inventory",
        description="Checks or prints an inventory, or converts the file env.json of the test "
        "framework mugen to an inventory.",
    )
    parser.add_argument(
        "--from-mugen", type=Path, metavar="ENV_JSON", help="the same as `inventory from-mugen`"
    )
    parser.set_defaults(run=partial(_run_without_action, parser))
    actions = parser.add_subparsers(metavar="ACTION")

    check = actions.add_parser("check", help="check the file, then connect to every host")
    check.add_argument(
        "--offline", action="store_true", help="check only the file, and connect to no host"
    )
    check.set_defaults(run=partial(check_inventory, connect=connect))
    show = actions.add_parser(
        "show", help="print every setting with its value and the place that sets the value"
    )
    show.set_defaults(run=show_inventory)
    for action in (check, show):
        action.add_argument("file", type=Path, metavar="FILE", help="inventory file")
        action.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            dest="assignments",
            help="use VALUE for the variable NAME instead of the value in the file; NAME is one "
            f"of: {', '.join(OVERRIDE_VARIABLES)}",
        )

    convert = actions.add_parser(
        "from-mugen",
        help="convert the file env.json of mugen, and print an inventory to complete by hand",
    )
    convert.add_argument("file", type=Path, metavar="ENV_JSON")
    convert.set_defaults(run=convert_mugen)


def check_inventory(arguments: argparse.Namespace, connect: Connect) -> int:
    """Print the contents of an inventory. Without --offline, also connect to all hosts.

    Args:
        arguments: The parsed arguments `file`, `assignments` and `offline`.
        connect: Connects to all hosts of an inventory and returns the results of the checks.

    Returns:
        The exit code. With --offline: 0. Without --offline: 0 when all checks passed, 1 when a
        check failed or no check ran.
    """
    inventory = load_inventory(arguments.file, assignments=arguments.assignments)
    _print_table(("item", "names"), _describe_inventory(inventory))
    if arguments.offline:
        print(f"\n{arguments.file}: no errors; the hosts were not contacted")
        return 0
    findings = connect(inventory)
    rows = [(finding.id, finding.severity, finding.message, finding.remedy) for finding in findings]
    print()
    _print_table(("check", "severity", "message", "remedy"), rows)
    failed_findings = [
        finding for finding in findings if finding.severity in {Severity.REFUSED, Severity.UNKNOWN}
    ]
    passed_count = len(findings) - len(failed_findings)
    print(f"\n{arguments.file}: {passed_count} of {len(findings)} checks passed")
    return 1 if failed_findings or not findings else 0


def show_inventory(arguments: argparse.Namespace) -> int:
    """Print every setting of an inventory with its value and the place that sets the value."""
    inventory = load_inventory(arguments.file, assignments=arguments.assignments)
    rows = [
        (setting.scope, setting.name, setting.value, setting.origin)
        for setting in inventory.effective_variables
    ]
    _print_table(("scope", "name", "value", "origin"), rows)
    return 0


def convert_mugen(arguments: argparse.Namespace) -> int:
    """Convert the file ``env.json`` of the test framework mugen, and print an inventory.

    The user must complete the inventory by hand.
    """
    print(render_mugen_inventory(arguments.file), end="")
    return 0


def _run_without_action(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Convert the file of --from-mugen to an inventory. Without a file, raise `UsageError`."""
    if arguments.from_mugen is None:
        raise UsageError(
            "`migqual inventory` needs an action: check, show or from-mugen",
            remedy=parser.format_usage().strip(),
        )
    print(render_mugen_inventory(arguments.from_mugen), end="")
    return 0


def _describe_inventory(inventory: Inventory) -> list[tuple[str, str]]:
    host_roles = (
        (host.name, "+".join(sorted(host.roles)) or "in no group with a role")
        for host in inventory.hosts.values()
    )
    return [
        ("hosts", ", ".join(f"{name} ({role})" for name, role in host_roles)),
        ("pairs", ", ".join(pair.id for pair in inventory.pairs)),
        (
            "stores",
            ", ".join(f"{store.name} ({store.kind})" for store in inventory.stores) or "none",
        ),
        ("client", inventory.client.name if inventory.client else "none: gaps are not measured"),
        (
            "service network",
            str(inventory.service_network.network) if inventory.service_network else "none",
        ),
        ("tier", inventory.tier),
        ("acceleration", inventory.acceleration),
    ]


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in which each column is as wide as its longest cell."""
    table = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
