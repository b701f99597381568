"""Tests of exclusive use of the machine: rules for parallel tests on a lab.

A plain test has no marker `timing_sensitive`. An exclusive test has the marker `timing_sensitive`.
A shared test has the marker `timing_sensitive(shared=True)`.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from fixtures.plugins.exclusive import hold_all_slots, hold_one_slot

pytestmark = pytest.mark.selftest
START_TIMEOUT_S = 0.2

HoldSlots = Callable[[Path], AbstractContextManager[None]]
SLOT_HOLDERS: dict[str, HoldSlots] = {
    "plain": hold_one_slot,
    "shared": partial(hold_all_slots, shared=True),
    "exclusive": partial(hold_all_slots, shared=False),
}


def can_start(hold_slots: HoldSlots, folder: Path) -> bool:
    """Start a new test in a thread, and return True if the test starts without waiting.

    A test starts when it has locked its slots (lock files). If running tests hold the slots, the
    function returns False. The new test still waits then, and starts when the running tests end.
    """
    start_event = threading.Event()

    def start_test() -> None:
        with hold_slots(folder):
            start_event.set()

    thread = threading.Thread(target=start_test, daemon=True)
    thread.start()
    return start_event.wait(START_TIMEOUT_S)


@pytest.mark.parametrize(
    ("first_kind", "second_kind", "in_parallel"),
    [
        ("plain", "plain", True),
        ("plain", "shared", False),
        ("plain", "exclusive", False),
        ("shared", "plain", False),
        ("shared", "shared", True),
        ("shared", "exclusive", False),
        ("exclusive", "plain", False),
        ("exclusive", "shared", False),
        ("exclusive", "exclusive", False),
    ],
)
def test_parallel_runs_of_plain_shared_and_exclusive_tests(
    tmp_path: Path, first_kind: str, second_kind: str, *, in_parallel: bool
) -> None:
    """
    Plain tests run in parallel with plain tests, and shared tests with shared tests.

    Preconditions: a plain test has no marker `timing_sensitive`, an exclusive test has the marker
    `timing_sensitive`, and a shared test has the marker `timing_sensitive(shared=True)`.
    Expected: a shared test and a plain test do not run in parallel. An exclusive test runs in
    parallel with no other test.
    """
    with SLOT_HOLDERS[first_kind](tmp_path):
        assert can_start(SLOT_HOLDERS[second_kind], tmp_path) is in_parallel


def test_waiting_exclusive_test_starts_before_later_tests(tmp_path: Path) -> None:
    """
    While an exclusive test waits, no new plain test starts.

    Preconditions: plain test A runs, and exclusive test B waits for the end of A. Then plain test
    C wants to start.
    Expected: C does not start while B waits. After the end of A, B starts. After the end of B,
    plain tests start again.
    """
    start_event = threading.Event()

    def run_exclusive_test() -> None:
        with hold_all_slots(tmp_path, shared=False):
            start_event.set()

    with hold_one_slot(tmp_path):
        threading.Thread(target=run_exclusive_test, daemon=True).start()
        assert not start_event.wait(START_TIMEOUT_S)
        assert not can_start(hold_one_slot, tmp_path)

    assert start_event.wait(5)
    assert can_start(hold_one_slot, tmp_path)
