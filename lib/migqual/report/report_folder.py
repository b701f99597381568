"""Lock and clear the report folder of a run, and write the report into the folder.

The folder contains:

records/       record files, the only input of the report
evidence/      logs, job samples and XML of the tests that did not pass
verdict.json   verdict for programs
index.html     report for people, a single page that loads no other files
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
from migqual.report.merged_run import merge_runs
from migqual.report.qualification import build_verdict_json
from migqual.report.stack_differences import compare_stacks, separate_stacks

VERDICT_FILE = "verdict.json"
INDEX_FILE = "index.html"
EVIDENCE_FOLDER = "evidence"
ALLURE_FOLDER = "allure-results"
JUNIT_FILE = "junit.xml"
LOCK_FILE = ".in-use"


def build_pytest_arguments(out_folder: Path) -> list[str]:
    """Build the pytest arguments that direct all result files to `out_folder`."""
    return [
        f"--report-dir={out_folder}",
        f"--junit-xml={out_folder / JUNIT_FILE}",
        f"--alluredir={out_folder / ALLURE_FOLDER}",
        "--clean-alluredir",
    ]


def lock_report_folder(out_folder: Path) -> IO[str]:
    """Lock the report folder, because the records of two runs must not be mixed.

    Returns:
        The open lock file. The folder is locked until the file is closed.

    Raises:
        UsageError: Another run has locked the folder, or the folder cannot be made.
    """
    try:
        out_folder.mkdir(parents=True, exist_ok=True)
        lock_file = (out_folder / LOCK_FILE).open("a")
    except OSError as error:
        raise UsageError(
            f"{out_folder} cannot be the folder of the report: {str(error.strerror).lower()}",
            remedy="choose a folder with `migqual run --out DIR` or `pytest --report-dir DIR`",
        ) from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock_file.close()
        raise UsageError(
            f"{out_folder}: another run is writing to this folder",
            remedy="wait until the other run ends, or choose another folder with "
            "`migqual run --out DIR` or `pytest --report-dir DIR`",
        ) from None
    return lock_file


def clear_report_folder(out_folder: Path, *, include_pytest_files: bool = False) -> None:
    """Remove the records, the evidence and the report of an earlier run.

    Args:
        out_folder: The report folder.
        include_pytest_files: True also removes the files of pytest and allure-pytest. Use False
            inside a pytest session, because pytest already writes these files.
    """
    record_files.remove_record_files(out_folder / record_files.RECORDS_FOLDER)
    for name in (VERDICT_FILE, INDEX_FILE, *([JUNIT_FILE] if include_pytest_files else [])):
        (out_folder / name).unlink(missing_ok=True)
    for name in (EVIDENCE_FOLDER, *([ALLURE_FOLDER] if include_pytest_files else [])):
        shutil.rmtree(out_folder / name, ignore_errors=True)


def load_records(folders: Iterable[Path]) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """Load the records of `folders`, and merge the records of all runs to a single record.

    Returns:
        The merged record of the runs, and the records of the tests.

    Raises:
        UsageError: A folder has no usable records, or the runs cannot be merged.
    """
    records = record_files.read_records(folders)
    runs, tests = separate_stacks(records.runs, records.tests)
    return merge_runs(runs), tests


def publish_report(
    folders: Iterable[Path], out_folder: Path
) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """Write `verdict.json` and `index.html` for the records in `folders`.

    Args:
        folders: Folders with records.
        out_folder: Folder for the two files.

    Returns:
        The merged run and the test records.
    """
    record_set = record_files.read_records(folders)
    comparison = compare_stacks(record_set.runs, record_set.tests)
    runs, records = separate_stacks(record_set.runs, record_set.tests)
    run = merge_runs(runs)
    text = json.dumps(encode_json_value(build_verdict_json(run, records)), indent=1)
    record_files.write_atomically(out_folder / VERDICT_FILE, text + "\n")
    record_files.write_atomically(
        out_folder / INDEX_FILE, render_html_report(run, records, comparison)
    )
    return run, records
