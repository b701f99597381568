"""A session clears the report folder of an earlier run, and shares it with no other session."""

from pathlib import Path

import pytest

from migqual.report import report_folder
from suites.selftest.support.inner_session import run_inner_session

pytestmark = pytest.mark.selftest


def test_new_run_clears_old_records(tmp_path: Path) -> None:
    """
    A new run removes the records of the previous run, so no old verdict counts for the new run.

    Expected: only the record of the new run. A session without recorded tests removes no
    record.
    """
    suite_template = '@pytest.mark.requirement("LM-CAP-01")\ndef test_{}(): pass\n'
    run_inner_session(tmp_path, suite_template.format("old"))
    recorded_run_id = run_inner_session(tmp_path, suite_template.format("new")).run_record.id
    selftest_suite = "@pytest.mark.selftest\ndef test_unexpected_exception(): pass\n"
    selftest_session = run_inner_session(tmp_path, selftest_suite)
    run_inner_session(tmp_path, suite_template.format("newer"), ["--collect-only"])
    assert list(selftest_session.test_records) == ["test_new"]
    assert selftest_session.run_record.id == recorded_run_id


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["serial", "worker"])
def test_two_sessions_cannot_share_a_report_folder(tmp_path: Path, options: list[str]) -> None:
    """
    A second session with the same report folder does not change the records of the first session.

    Expected: a usage error with the reason, and no traceback.
    """
    suite = """
@pytest.mark.requirement("LM-CAP-01")
def test_passes(): pass
"""
    first_session = run_inner_session(tmp_path, suite)
    record_contents = {
        file: file.read_bytes() for file in (first_session.out_folder / "records").iterdir()
    }

    with report_folder.lock_report_folder(first_session.out_folder):
        second_session = run_inner_session(tmp_path, suite, options)

    assert second_session.exit_status == pytest.ExitCode.USAGE_ERROR
    assert "another run is writing to this folder" in second_session.output
    assert "Traceback" not in second_session.output
    assert {
        file: file.read_bytes() for file in (first_session.out_folder / "records").iterdir()
    } == record_contents
    assert not list(first_session.out_folder.glob(".plan*"))
