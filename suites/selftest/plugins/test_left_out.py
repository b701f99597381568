"""The record of a run names the tests that the arguments left out."""

from pathlib import Path

import pytest

from suites.selftest.support.inner_session import run_inner_session

pytestmark = pytest.mark.selftest


TWO_TESTS = '''
pytestmark = pytest.mark.requirement("LM-CAP-01")

@pytest.mark.parametrize("disk", ["raw", "nbd"])
def test_move(disk):
    """It moves."""

@pytest.mark.observer_check
def test_watch():
    """It is watched."""
'''


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [
        ((), ()),
        (
            ("-k", "raw"),
            ("suites/test_inner.py::test_move[nbd]", "suites/test_inner.py::test_watch"),
        ),
        (("--deselect", "suites/test_inner.py::test_watch"), ("suites/test_inner.py::test_watch",)),
        (
            ("-m", "not observer_check", "-n", "1"),
            ("suites/test_inner.py::test_watch",),
        ),
        (
            ("suites/test_inner.py::test_move[nbd]",),
            ("suites/test_inner.py::test_move (only some parameters)",),
        ),
    ],
    ids=["none", "keyword", "deselect", "marker-xdist", "test-id"],
)
def test_tests_that_the_arguments_leave_out_are_recorded(
    tmp_path: Path, arguments: tuple[str, ...], left_out: tuple[str, ...]
) -> None:
    """
    The record of a run names the tests that the arguments left out.

    With the argument `test_move[nbd]`, pytest collects `test_move` only with the parameter `nbd`.
    The other parameters are unknown. So the record contains `test_move (only some parameters)`.
    """
    session = run_inner_session(tmp_path, TWO_TESTS, arguments)

    assert session.exit_status == 0
    assert session.run_record.left_out == left_out
