"""The marker is checked before anything runs."""

from pathlib import Path

import pytest

from suites.selftest.inner_session import run_inner

pytestmark = pytest.mark.selftest

TYPO = '@pytest.mark.requirement("LM-CAP-1")\n'
UNMARKED = "def test_bare(): pass\ndef test_bare_too(): pass\n"


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["serial", "parallel"])
def test_all_faults_are_told_at_once(tmp_path: Path, workers: list[str]) -> None:
    """An unknown id with the one that was meant; every test without a marker."""
    session = run_inner(tmp_path, TYPO + "def test_typo(): pass\n" + UNMARKED, workers)
    assert session.code != 0
    assert "test_typo: no requirement 'LM-CAP-1'; did you mean LM-CAP-01" in session.output
    assert "suites/test_inner.py::test_bare: names no requirement" in session.output
    assert "suites/test_inner.py::test_bare_too: names no requirement" in session.output
    assert not (session.out / "records").exists()


@pytest.mark.parametrize("marker", ["oracle", "selftest"])
def test_tests_of_the_suite_itself_need_no_requirement(tmp_path: Path, marker: str) -> None:
    """They show something about us, not about hosts."""
    suite = f"pytestmark = pytest.mark.{marker}\n{UNMARKED}"
    assert run_inner(tmp_path, suite).code == 0


def test_the_selftests_folder_needs_no_requirement(tmp_path: Path) -> None:
    """Nor does anything outside of the suites."""
    assert run_inner(tmp_path, UNMARKED, file="suites/selftest/test_inner.py").code == 0
    assert run_inner(tmp_path, UNMARKED, ["elsewhere"], file="elsewhere/test_inner.py").code == 0


def test_an_unknown_id_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    """Also on a selftest."""
    suite = f"{TYPO}@pytest.mark.selftest\ndef test_typo(): pass\n"
    assert run_inner(tmp_path, suite, file="suites/selftest/test_inner.py").code != 0
