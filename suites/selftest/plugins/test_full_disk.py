"""A run on a controller whose disk is full ends with one clear message, and loses no record."""

from pathlib import Path

import pytest

from migqual.model.verdict import Verdict
from suites.selftest.support.inner_session import run_inner_session

pytestmark = pytest.mark.selftest

SUITE = """
import errno
from pathlib import Path
from migqual.report import record_files

pytestmark = pytest.mark.requirement("LM-CAP-01")

def test_passes(): pass

def test_fills_the_disk(monkeypatch):
    def write_nothing(file, _text):
        raise OSError(errno.ENOSPC, "No space left on device", str(file))
    record_files.write_atomically = write_nothing

def test_after(): pass
"""


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["serial", "worker"])
def test_full_disk_ends_the_run_with_one_message(tmp_path: Path, options: list[str]) -> None:
    """
    A record that cannot be written ends the session.

    Expected: the message names the folder, the reason and a remedy, and there is no traceback. The
    record of the earlier test is kept, and no later test starts.
    """
    session = run_inner_session(tmp_path, SUITE, options)

    assert session.exit_status == pytest.ExitCode.INTERRUPTED
    assert (
        f"cannot write to the report folder {session.out_folder}: No space left" in session.output
    )
    assert "Remedy: free space" in session.output
    assert "Traceback" not in session.output
    assert {name: record.verdict for name, record in session.test_records.items()} == {
        "test_passes": Verdict.PASS,
        "test_fills_the_disk": Verdict.INCONCLUSIVE,
        "test_after": Verdict.NOT_RUN,
    }
