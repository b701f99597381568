"""On which pair each test runs where several would do. Pure."""

from collections.abc import Iterable, Mapping

UNKNOWN_SECONDS = 10.0  # of a test that never passed where the durations were taken


def assign_lanes(
    tests: Iterable[str], seconds: Mapping[str, float], lanes: Iterable[str]
) -> dict[str, str]:
    """Assign each test to the lane that has the least to do so far, the longest test first.

    Args:
        tests: ids without the pair.
        seconds: how long each test took once, by id.
        lanes: pairs of hosts; the first of those with equally little to do is taken.

    Returns: the lane of each test. The same input gives the same output in every process.
    """
    busy = dict.fromkeys(lanes, 0.0)
    assigned = {}
    for test in sorted(tests, key=lambda one: (-seconds.get(one, UNKNOWN_SECONDS), one)):
        lane = min(busy, key=lambda name: busy[name])
        busy[lane] += seconds.get(test, UNKNOWN_SECONDS)
        assigned[test] = lane
    return assigned
