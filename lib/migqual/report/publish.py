"""What a report's folder holds, and how it is made from records.

records/       record files; the only input
evidence/      logs, samples, XML of tests that did not pass
verdict.json   for machines
index.html     for people; one file, nothing loaded from anywhere
"""

import fcntl
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from migqual.errors import UsageError
from migqual.model.decode import encode
from migqual.model.record import RunRecord, TestRecord
from migqual.report import folder
from migqual.report.certificate import render
from migqual.report.judge import merge, verdict

VERDICT = "verdict.json"
INDEX = "index.html"
EVIDENCE = "evidence"
ALLURE = "allure-results"
JUNIT = "junit.xml"
IN_USE = ".in-use"


def pytest_arguments(out: Path) -> list[str]:
    """What a session of the suites is given so that everything of it lands in `out`."""
    return [
        f"--report-dir={out}",
        f"--junit-xml={out / JUNIT}",
        f"--alluredir={out / ALLURE}",
        "--clean-alluredir",
    ]


def claim(out: Path) -> IO[str]:
    """Nobody else writes to `out` while what is returned is open.

    Raises `UsageError` while another run does: it would take this one's records for its own.
    """
    out.mkdir(parents=True, exist_ok=True)
    stream = (out / IN_USE).open("a")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UsageError(
            f"{out}: another run writes there",
            remedy="wait for its end, or name another folder (--report-dir, of `run` --out)",
        ) from None
    return stream


def clear(out: Path, *, foreign: bool = False) -> None:
    """Remove what an earlier run left in `out`, so that no old verdict can pass for a new one.

    foreign  also what pytest and allure-pytest write; a session that has begun needs it
    """
    folder.clear(out / folder.RECORDS)
    for name in (VERDICT, INDEX, *([JUNIT] if foreign else [])):
        (out / name).unlink(missing_ok=True)
    for name in (EVIDENCE, *([ALLURE] if foreign else [])):
        shutil.rmtree(out / name, ignore_errors=True)


def load(folders: Iterable[Path]) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """The runs of `folders` as one, and all their tests. Raises `UsageError` on bad input."""
    records = folder.read(folders)
    return merge(records.runs), records.tests


def publish(folders: Iterable[Path], out: Path) -> tuple[RunRecord, tuple[TestRecord, ...]]:
    """Write verdict and certificate of the records in `folders` into `out`; give what they say."""
    run, records = load(folders)
    text = json.dumps(encode(verdict(run, records)), indent=1)
    folder.write_atomically(out / VERDICT, text + "\n")
    folder.write_atomically(out / INDEX, render(run, records))
    return run, records
