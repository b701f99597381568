"""Who may run beside whom on the hosts of a lab."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from fixtures.plugins.turns import all_lanes, one_lane

pytestmark = pytest.mark.selftest
PATIENCE_S = 0.2

Take = Callable[[Path], AbstractContextManager[None]]
TESTS: dict[str, Take] = {
    "plain": one_lane,
    "together": partial(all_lanes, together=True),
    "alone": partial(all_lanes, together=False),
}


def can_start(take: Take, folder: Path) -> bool:
    """Whether another test gets its turn now. One that does not still waits when this returns, and
    gets it when the first one is over."""
    entered = threading.Event()

    def run() -> None:
        with take(folder):
            entered.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return entered.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("first", "second", "beside"),
    [
        ("plain", "plain", True),
        ("plain", "together", False),
        ("plain", "alone", False),
        ("together", "plain", False),
        ("together", "together", True),
        ("together", "alone", False),
        ("alone", "plain", False),
        ("alone", "together", False),
        ("alone", "alone", False),
    ],
)
def test_who_runs_beside_whom(tmp_path: Path, first: str, second: str, *, beside: bool) -> None:
    """Plain tests share the machine, those marked together share it among themselves, and one that
    runs alone shares it with nobody."""
    with TESTS[first](tmp_path):
        assert can_start(TESTS[second], tmp_path) is beside


def test_a_test_that_waits_to_run_alone_is_not_passed(tmp_path: Path) -> None:
    """
    Preconditions: a plain test runs, one that runs alone waits for its end.
    Expected: another plain test does not start before it; both start when the first is over.
    """
    done = threading.Event()

    def run_alone() -> None:
        with all_lanes(tmp_path, together=False):
            done.set()

    with one_lane(tmp_path):
        threading.Thread(target=run_alone, daemon=True).start()
        assert not done.wait(PATIENCE_S)
        assert not can_start(one_lane, tmp_path)

    assert done.wait(5)
    assert can_start(one_lane, tmp_path)
