"""Create and publish the folder of a report.

records/       record files; the only input
evidence/      logs, samples, XML of tests without a pass
verdict.json   verdict for machines
index.html     report for people; a single file without external resources
"""

import fcntl
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from migqual.errors import UsageError
from migqual.model.json_codec import encode_json_value
from migqual.model.record import RunRecord, TestRecord
from migqual.report import record_files
from migqual.report.html_report import render_html_report
from migqual.report.qualification import build_verdict_json, merge_runs
from migqual.report.stack_differences import compare_stacks

VERDICT_FILE = "verdict.json"
INDEX_FILE = "index.html"
EVIDENCE_FOLDER = "evidence"
ALLURE_FOLDER = "allure-results"
JUNIT_FILE = "junit.xml"
LOCK_FILE = ".in-use"


def build_pytest_arguments(out_folder: Path) -> list[str]:
    """Build the arguments for a pytest session with all output in `out_folder`."""
    return [
        f"--report-dir={out_folder}",
        f"--junit-xml={out_folder / JUNIT_FILE}",
        f"--alluredir={out_folder / ALLURE_FOLDER}",
        "--clean-alluredir",
    ]


def lock_report_folder(out_folder: Path) -> IO[str]:
    """Lock the report folder for writing.

    Two runs in the same folder would mix the records of both runs.

    Returns:
        The open lock file. The lock holds until the file is closed.

    Raises:
        UsageError: Another run holds the lock.
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    lock_file = (out_folder / LOCK_FILE).open("a")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock_file.close()
        raise UsageError(
            f"{out_folder}: another run is writing to this folder",
            remedy="wait until it ends, or choose another folder (--report-dir, or `run` --out)",
        ) from None
    return lock_file


def clear_report_folder(out_folder: Path, *, include_pytest_files: bool = False) -> None:
    """Remove the results of an earlier run, so no old verdict can pass for a new verdict.

    Args:
        out_folder: The report folder.
        include_pytest_files: Also remove the files of pytest and allure-pytest. Not for a
            running session: pytest already writes the files.
    """
    record_files.remove_record_files(out_folder / record_files.RECORDS_FOLDER)
    for name in (VERDICT_FILE, INDEX_FILE, *([JUNIT_FILE] if include_pytest_files else [])):
        (out_folder / name).unlink(missing_ok=True)
    for name in (EVIDENCE_FOLDER, *([ALLURE_FOLDER] if include_pytest_files else [])):
        shutil.rmtree(out_folder / name, ignore_errors=True)


def load_records(folders: Iterable[Path]) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """Load the runs of `folders` as a single run, and all tests of the runs.

    Raises:
        UsageError: The folders hold no usable records.
    """
    records = record_files.read_records(folders)
    return merge_runs(records.runs), records.tests


def publish_report(
    folders: Iterable[Path], out_folder: Path
) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """Publish the verdict and the HTML report for the records in `folders`.

    Args:
        folders: Folders with records.
        out_folder: Folder for `verdict.json` and `index.html`.

    Returns:
        The merged run and the test records.
    """
    record_set = record_files.read_records(folders)
    run, records = merge_runs(record_set.runs), record_set.tests
    comparison = compare_stacks(record_set.runs, records)
    text = json.dumps(encode_json_value(build_verdict_json(run, records)), indent=1)
    record_files.write_atomically(out_folder / VERDICT_FILE, text + "\n")
    record_files.write_atomically(
        out_folder / INDEX_FILE, render_html_report(run, records, comparison)
    )
    return run, records
