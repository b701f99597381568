"""Requirement markers are checked before any test runs."""

from pathlib import Path

import pytest

from suites.selftest.support.inner_session import run_inner_session

pytestmark = pytest.mark.selftest

MISSPELT_MARKER = '@pytest.mark.requirement("LM-CAP-1")\n'
UNMARKED_TESTS = "def test_bare(): pass\ndef test_bare_too(): pass\n"


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["serial", "parallel"])
def test_all_marker_errors_are_reported_together(tmp_path: Path, workers: list[str]) -> None:
    """A single message lists all errors in the markers `requirement`.

    For an unknown requirement id, the message suggests a similar id. The message also names every
    test without a marker.
    """
    session = run_inner_session(
        tmp_path, MISSPELT_MARKER + "def test_typo(): pass\n" + UNMARKED_TESTS, workers
    )
    assert session.exit_status != 0
    assert "test_typo: no requirement 'LM-CAP-1'; did you mean LM-CAP-01" in session.output
    assert "suites/test_inner.py::test_bare: names no requirement" in session.output
    assert "suites/test_inner.py::test_bare_too: names no requirement" in session.output
    assert not (session.out_folder / "records").exists()


@pytest.mark.parametrize("marker", ["observer_check", "selftest"])
def test_observer_checks_and_selftests_need_no_requirement(tmp_path: Path, marker: str) -> None:
    """Tests marked `observer_check` or `selftest` need no marker `requirement`.

    These tests check migqual, not the hosts.
    """
    suite = f"pytestmark = pytest.mark.{marker}\n{UNMARKED_TESTS}"
    assert run_inner_session(tmp_path, suite).exit_status == 0


def test_selftest_folder_needs_no_requirement(tmp_path: Path) -> None:
    """Tests in the selftest folder or outside of the suites need no marker `requirement`."""
    assert (
        run_inner_session(
            tmp_path, UNMARKED_TESTS, test_file="suites/selftest/test_inner.py"
        ).exit_status
        == 0
    )
    assert (
        run_inner_session(
            tmp_path, UNMARKED_TESTS, ["elsewhere"], test_file="elsewhere/test_inner.py"
        ).exit_status
        == 0
    )


def test_unknown_requirement_id_is_refused_in_selftests(tmp_path: Path) -> None:
    """An unknown id is an error, even in the selftest folder."""
    suite = f"{MISSPELT_MARKER}@pytest.mark.selftest\ndef test_typo(): pass\n"
    assert (
        run_inner_session(tmp_path, suite, test_file="suites/selftest/test_inner.py").exit_status
        != 0
    )
