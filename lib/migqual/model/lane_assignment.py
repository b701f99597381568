"""Assign tests to lanes where several lanes can run a test. The functions are pure."""

from collections.abc import Iterable, Mapping

LANE_DEFAULT_SECONDS = 10.0  # of a test that never passed where the durations were taken


def assign_lanes(
    tests: Iterable[str], seconds: Mapping[str, float], lanes: Iterable[str]
) -> dict[str, str]:
    """Assign each test to the lane with the least work so far, the longest test first.

    Args:
        tests: Test ids without the pair.
        seconds: Measured duration of each test in s, by id.
        lanes: Ids of the lanes. Among equally loaded lanes the first lane wins.

    Returns:
        The lane of each test. Equal input gives equal output in every process.
    """
    lane_seconds = dict.fromkeys(lanes, 0.0)
    lane_by_test = {}
    for test in sorted(
        tests, key=lambda test_id: (-seconds.get(test_id, LANE_DEFAULT_SECONDS), test_id)
    ):
        lane = min(lane_seconds, key=lambda name: lane_seconds[name])
        lane_seconds[lane] += seconds.get(test, LANE_DEFAULT_SECONDS)
        lane_by_test[test] = lane
    return lane_by_test
