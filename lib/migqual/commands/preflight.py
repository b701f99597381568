"""`migqual preflight GUEST DESTINATION`: what stands between a guest and its migration."""

import argparse
import json
import sys
from collections.abc import Sequence
from textwrap import fill

from migqual.commands import _move as move
from migqual.errors import MigqualError, UsageError
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Control, Plan, StorageCopy
from migqual.preflight.run import preflight

_WIDTH = 100
_BAD = {Severity.REFUSED, Severity.UNKNOWN}


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "preflight",
        description="Exit code 0 when all is ok or a warning, 1 when something is refused or "
        "unknown, 2 on bad input.",
    )
    move.add_arguments(parser)
    parser.add_argument(
        "--control",
        choices=[str(one) for one in Control],
        default=str(Control.PEER_TO_PEER),
        help="who drives the migration (default: %(default)s)",
    )
    parser.add_argument(
        "--copy-storage",
        choices=[str(one) for one in StorageCopy],
        default=str(StorageCopy.NONE),
        help="what the migration copies of the disks (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, print, and say whether anything refuses."""
    try:
        findings = _findings(arguments)
    except UsageError as error:
        print(f"migqual preflight: {error}", file=sys.stderr)
        return 2
    except MigqualError as error:
        print(f"migqual preflight: {error}", file=sys.stderr)
        return 1
    print(as_json(findings) if arguments.json else as_table(findings))
    return 1 if any(one.verdict in _BAD for one in findings) else 0


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects: id, verdict, words, figures, remedy."""
    keys = ("id", "verdict", "words", "remedy")
    plain = [
        {key: getattr(one, key) for key in keys} | {"figures": dict(one.figures)}
        for one in findings
    ]
    return json.dumps(plain, indent=2)


def as_table(findings: Sequence[Finding]) -> str:
    """One line per finding, its remedy below it; the counts at the end."""
    wide = max(len(one.id) for one in findings)
    lines = []
    for one in findings:
        head = f"{one.verdict:<8} {one.id:<{wide}}  "
        rest = " " * len(head)
        lines.append(fill(one.words, _WIDTH, initial_indent=head, subsequent_indent=rest))
        if one.remedy:
            first = f"{rest}-> "
            lines.append(
                fill(one.remedy, _WIDTH, initial_indent=first, subsequent_indent=f"{rest}   ")
            )
    counts = {kind: sum(one.verdict is kind for one in findings) for kind in Severity}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return "\n".join([*lines, told])


def _findings(arguments: argparse.Namespace) -> tuple[Finding, ...]:
    plan = Plan(
        control=Control(arguments.control), copy_storage=StorageCopy(arguments.copy_storage)
    )
    with move.asked(arguments, plan) as (asked, tools):
        return preflight(asked.guest, asked.source, asked.destination, tools, plan)
