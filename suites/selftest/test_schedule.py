"""Tests that need one pair only keep all pairs equally busy."""

import pytest

from migqual.model.schedule import assign_lanes

pytestmark = pytest.mark.selftest
SECONDS = {"long": 50.0, "half": 25.0, "other half": 24.0, "short": 1.0}


def test_the_longest_tests_are_assigned_first() -> None:
    """Expected: no pair has more to do than another by more than the shortest test."""
    assigned = assign_lanes(SECONDS, SECONDS, ["a", "b"])
    busy = {pair: sum(SECONDS[t] for t, at in assigned.items() if at == pair) for pair in "ab"}

    assert assigned["long"] == "a"
    assert busy == {"a": 50.0, "b": 50.0}


def test_every_process_assigns_alike() -> None:
    """Workers and their controller assign by themselves: the order of collection plays no part."""
    tests = [*SECONDS, "never measured", "nor this"]

    assert assign_lanes(tests, SECONDS, ["a", "b"]) == assign_lanes(
        reversed(tests), SECONDS, ["a", "b"]
    )
