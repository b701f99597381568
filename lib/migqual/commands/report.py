"""`migqual report [DIR ...]`: records of any number of runs and machines -> one verdict."""

import argparse
import sys
from pathlib import Path

from migqual import places
from migqual.errors import UsageError
from migqual.model.smoke import read_durations, render_durations
from migqual.model.verdict import Verdict
from migqual.report import publish, terminal, time_spent
from migqual.report.folder import write_atomically
from migqual.report.judge import judge, qualifies
from migqual.steps import WAIT_FOR_TURN


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "report",
        description="Exit code 0 when every pair qualifies, 1 when one does not, 2 on bad input.",
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="DIR",
        default=[places.OUT],
        help=f"a folder that a run wrote, or the records folder in it (default: {places.OUT})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=places.OUT,
        help="where verdict.json and index.html go (default: %(default)s)",
    )
    parser.add_argument(
        "--profile", action="store_true", help="print where the time of the tests went, too"
    )
    parser.add_argument(
        "--durations",
        type=Path,
        metavar="FILE",
        help="write the seconds of each test that passed, less its wait for a turn; by these a "
        "smoke run chooses, and lanes are filled",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Publish, print, and say whether all pairs qualify."""
    try:
        merged, records = publish.publish(arguments.folders, arguments.out)
    except UsageError as error:
        print(f"migqual report: {error}", file=sys.stderr)
        return 2
    for line in terminal.lines(merged, records, arguments.out / publish.INDEX):
        print(line)
    if arguments.profile:
        print("\n".join(["", *time_spent.render_profile(records)]))
    if arguments.durations:
        passed = [
            (one.id, one.seconds - one.steps.get(WAIT_FOR_TURN, 0.0))
            for one in records
            if one.verdict is Verdict.PASS
        ]
        known = read_durations(arguments.durations) if arguments.durations.exists() else {}
        write_atomically(arguments.durations, render_durations(passed, known))
    return 0 if qualifies(judge(merged, records)) else 1
