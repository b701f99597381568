"""Assign tests to lanes where several lanes can run a test. The functions are pure."""

from collections.abc import Iterable, Mapping

from migqual.inventory.entities import Inventory, PairEntry

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


def find_worker_group(inventory: Inventory, lane: PairEntry) -> str:
    """Find the group of the worker for a lane: lanes that share a host share a worker.

    Returns:
        The id of the first lane that is connected with `lane` by common hosts.
    """
    connected = [lane]
    for candidate in (other for _ in inventory.lanes for other in inventory.lanes):
        if candidate not in connected and any(
            candidate.shares_host_with(member) for member in connected
        ):
            connected.append(candidate)
    return next(other.id for other in inventory.lanes if other in connected)


def list_worker_groups(inventory: Inventory) -> tuple[str, ...]:
    """List the groups of all lanes, each once."""
    return tuple(dict.fromkeys(find_worker_group(inventory, lane) for lane in inventory.lanes))
