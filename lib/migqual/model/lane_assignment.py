"""Assign tests to lanes, and lanes to the workers of pytest-xdist.

A lane is a pair of hosts, or a replica of a pair. A replica is an additional lab pair that runs a
share of the pair's tests. The functions are pure.
"""

from collections.abc import Iterable, Mapping

from migqual.inventory.entities import Inventory, PairEntry

LANE_DEFAULT_SECONDS = 10.0  # for a test without a measured duration


def assign_lanes(
    tests: Iterable[str], seconds: Mapping[str, float], lanes: Iterable[str]
) -> dict[str, str]:
    """Assign tests to lanes (pairs and replicas) so that all lanes have about equal work.

    The longest test comes first. Each test goes to the lane with the least work so far.

    Args:
        tests: Test ids without the pair.
        seconds: Measured duration of each test in s, by id. A missing duration counts as 10 s.
        lanes: Ids of the lanes. The first of several equally loaded lanes gets the test.

    Returns:
        The lane id of each test, by test id. Equal input gives equal output in every process.
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


def find_worker_group(inventory: Inventory, lane: PairEntry) -> str:
    """Find the id of the group of lanes that run in the same worker as `lane`.

    Lanes (pairs and replicas) with a common host are in the same group. If lane A shares a host
    with B, and B shares a host with C, all three lanes are in the same group.

    Returns:
        The id of the group, which is the id of the group's first lane in the inventory.
    """
    connected = [lane]
    for candidate in (other for _ in inventory.lanes for other in inventory.lanes):
        if candidate not in connected and any(
            candidate.shares_host_with(member) for member in connected
        ):
            connected.append(candidate)
    return next(other.id for other in inventory.lanes if other in connected)


def list_worker_groups(inventory: Inventory) -> tuple[str, ...]:
    """List the ids of all groups of lanes. The lanes of a group run in the same worker.

    A group consists of lanes (pairs and replicas) that share hosts; see `find_worker_group`.
    """
    return tuple(dict.fromkeys(find_worker_group(inventory, lane) for lane in inventory.lanes))
