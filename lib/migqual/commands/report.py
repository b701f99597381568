"""`migqual report [DIR ...]`: judge the records of one or several runs, and write a report."""

import argparse
import sys
from pathlib import Path

from migqual import paths
from migqual.errors import UsageError
from migqual.model.smoke_selection import read_durations, render_durations
from migqual.model.verdict import Verdict
from migqual.report import report_folder, terminal_summary, time_summary
from migqual.report.qualification import judge_pairs, judge_run
from migqual.report.record_files import write_atomically
from migqual.step_times import WAIT_FOR_MACHINE


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `report`. The handler `run` returns the exit code."""
    parser = subparsers.add_parser(
        "report",
        description="Judges the records of one or several runs, and writes verdict.json and "
        "index.html. Exit code 0 if every pair qualifies, 1 if a pair does not qualify, 2 on bad "
        "input, 4 if nothing failed, but results are missing or inconclusive.",
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="DIR",
        default=[paths.DEFAULT_OUTPUT],
        help="output folder of a run, or the records folder in such a folder "
        f"(default: {paths.DEFAULT_OUTPUT})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=paths.DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder for verdict.json and index.html (default: %(default)s)",
    )
    parser.add_argument(
        "--time-spent",
        action="store_true",
        help="also print the seconds of each step, added up over all tests",
    )
    parser.add_argument(
        "--durations",
        type=Path,
        metavar="FILE",
        help="write the duration of each passed test in seconds to this file. The time in which "
        "a test waited for other tests to end does not count. migqual reads "
        "fixtures/durations.json to select the tests of a smoke run, and to divide the tests among "
        "the pairs that are tested at the same time",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the report of the given records, and print a summary.

    Returns:
        The exit code: 0 if every pair qualifies, 1 if a pair does not qualify, 2 on bad input,
        4 if nothing failed, but results are missing or inconclusive.
    """
    try:
        run_record, records = report_folder.publish_report(arguments.folders, arguments.out)
    except UsageError as error:
        print(f"migqual report: {error}", file=sys.stderr)
        return 2
    for line in terminal_summary.render_verdict_summary(
        run_record, records, arguments.out / report_folder.INDEX_FILE
    ):
        print(line)
    if arguments.time_spent:
        print("\n".join(["", *time_summary.render_time_table(records)]))
    if arguments.durations:
        passed_tests = [
            (record.id, record.seconds - record.steps.get(WAIT_FOR_MACHINE, 0.0))
            for record in records
            if record.verdict is Verdict.PASS
        ]
        recorded_durations = (
            read_durations(arguments.durations) if arguments.durations.exists() else {}
        )
        write_atomically(arguments.durations, render_durations(passed_tests, recorded_durations))
    return judge_run(judge_pairs(run_record, records)).exit_code
