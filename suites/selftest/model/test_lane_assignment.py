"""Tests are assigned to the lanes so that all lanes have about equal work."""

import pytest

from migqual.model.lane_assignment import assign_lanes

pytestmark = pytest.mark.selftest
DURATIONS_S = {"long": 50.0, "half": 25.0, "other half": 24.0, "short": 1.0}


def test_the_longest_tests_are_assigned_first() -> None:
    """
    The longest tests are assigned first.

    Expected: the longest test is on the first lane, and both lanes have equal total times.
    """
    lane_by_test = assign_lanes(DURATIONS_S, DURATIONS_S, ["a", "b"])
    busy_s_by_lane = {
        lane: sum(
            DURATIONS_S[test] for test, test_lane in lane_by_test.items() if test_lane == lane
        )
        for lane in "ab"
    }

    assert lane_by_test["long"] == "a"
    assert busy_s_by_lane == {"a": 50.0, "b": 50.0}


def test_assignment_is_independent_of_collection_order() -> None:
    """
    Every process of pytest-xdist assigns a test to the same lane (pair or replica).

    Expected: the order in which pytest collects the tests has no effect.
    """
    tests = [*DURATIONS_S, "never measured", "nor this"]

    assert assign_lanes(tests, DURATIONS_S, ["a", "b"]) == assign_lanes(
        reversed(tests), DURATIONS_S, ["a", "b"]
    )
