"""On which pair each test runs where one pair is enough. Pure."""

from collections.abc import Iterable, Mapping

UNKNOWN_SECONDS = 10.0  # of a test that never passed where the durations were taken


def assign_pairs(
    tests: Iterable[str], seconds: Mapping[str, float], pairs: Iterable[str]
) -> dict[str, str]:
    """Assign each test to the pair that has the least to do so far, the longest test first.

    Args:
        tests: ids without the pair.
        seconds: how long each test took once, by id.
        pairs: at least one; the first of those with equally little to do is taken.

    Returns: the pair of each test. The same input gives the same output in every process.
    """
    busy = dict.fromkeys(pairs, 0.0)
    assigned = {}
    for test in sorted(tests, key=lambda one: (-seconds.get(one, UNKNOWN_SECONDS), one)):
        pair = min(busy, key=lambda name: busy[name])
        busy[pair] += seconds.get(test, UNKNOWN_SECONDS)
        assigned[test] = pair
    return assigned
