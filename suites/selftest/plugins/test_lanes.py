"""Replicas share the tests of a pair; each test runs once, and each record names the pair.

A replica is an additional pair that is built like an existing pair. A lane is a pair or a replica.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migqual import paths

pytestmark = pytest.mark.selftest

INVENTORY = """
all:
  vars:
    migqual_tier: lab
    migqual_known_hosts: known_hosts
    migqual_service_bridge: br0
    migqual_pairs:
      - {source: a1, destination: b1}
      - {source: a2, destination: b2}
      - {source: a3, destination: b3, replica_of: a1-b1}
  children:
    hypervisors:
      hosts:
        a1: {ansible_host: 10.0.0.1}
        b1: {ansible_host: 10.0.0.2}
        a2: {ansible_host: 10.0.0.3}
        b2: {ansible_host: 10.0.0.4}
        a3: {ansible_host: 10.0.0.5}
        b3: {ansible_host: 10.0.0.6}
"""
SUITE = """
import json, os, time
from pathlib import Path
import pytest
from fixtures.plugins.item_identity import build_test_id, find_pair_name
from fixtures.plugins.stash import RUN

@pytest.fixture(scope="session")
def pair(request):
    return request.param

@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=pytest.mark.timing_sensitive if n % 3 == 0 else []) for n in range(8)],
)
def test_numbered(pair, number, request):
    record_pair = find_pair_name(request.node, request.config.stash[RUN].pairs)
    result = {
        "time": time.monotonic_ns(),
        "test": build_test_id(request.node, record_pair).partition("::")[2],
        "lane": pair,
        "record_pair": record_pair.id,
        "worker": os.environ["PYTEST_XDIST_WORKER"],
    }
    Path(f"{number}-{record_pair.id}.json").write_text(json.dumps(result))
"""
PLUGINS = ("session", "requirement_markers", "lanes", "exclusive", "pair_order")


def run_suite(folder: Path, *options: str, inventory: str = INVENTORY) -> list[dict[str, Any]]:
    """Run the tests in `SUITE` with three workers, and return one result for each test.

    A result contains the time, the test id and the worker. `lane` is the pair or replica on which
    the test ran. For a replica, `record_pair` is the original pair; otherwise both are equal.
    """
    (folder / "inventory.yml").write_text(inventory)
    (folder / "known_hosts").touch()
    (folder / "test_lanes.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers = observer_check\n    selftest\n    requirement\n    timing_sensitive\n"
    )
    plugins = [argument for name in PLUGINS for argument in ("-p", f"fixtures.plugins.{name}")]
    workers = ("-n", "3", "--dist", "loadgroup")
    command = [sys.executable, "-m", "pytest", *plugins, "--inventory=inventory.yml", *workers]
    result = subprocess.run(
        [*command, *options, "test_lanes.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def test_replica_runs_half_of_the_tests_of_a_pair(tmp_path: Path) -> None:
    """
    A replica (an additional pair, built like an original pair) runs half of the pair's tests.

    Preconditions: two pairs, a replica of the first pair, and three workers. Each pair has eight
    tests.
    Expected: the second pair runs its eight tests. The first pair runs four of its tests, and the
    replica runs the other four. The records of the replica name the first pair. The two pairs and
    the replica each have a separate worker.
    """
    results = run_suite(tmp_path)
    lanes = [result["lane"] for result in results]

    assert sorted((result["record_pair"], result["test"]) for result in results) == [
        (pair, f"test_numbered[{number}]") for pair in ("a1-b1", "a2-b2") for number in range(8)
    ]
    assert {lane: lanes.count(lane) for lane in lanes} == {"a1-b1": 4, "a3-b3": 4, "a2-b2": 8}
    assert {result["record_pair"] for result in results if result["lane"] == "a3-b3"} == {"a1-b1"}
    assert len({(result["lane"], result["worker"]) for result in results}) == 3
    assert len({result["worker"] for result in results}) == 3


def test_spread_option_runs_each_test_on_a_single_lane(tmp_path: Path) -> None:
    """
    With `--spread`, each test runs on only one lane (a pair, or a replica of a pair).

    Preconditions: eight tests and three lanes.
    Expected: each test runs once, and each lane runs some of the tests.
    """
    results = run_suite(tmp_path, "--spread")

    assert sorted(result["test"] for result in results) == [
        f"test_numbered[{number}]" for number in range(8)
    ]
    assert {result["lane"] for result in results} == {"a1-b1", "a2-b2", "a3-b3"}


def test_pairs_with_a_common_host_share_a_worker(tmp_path: Path) -> None:
    """
    Pairs with a common host never run at the same time, but other pairs may run in parallel.

    Preconditions: a host is the source of two pairs, and the third pair has hosts of its own. Each
    pair has timing-sensitive tests, which run before the other tests of the pair.
    Expected: one worker runs all tests of the two pairs with the common host. This worker runs all
    tests of one pair, and then all tests of the other pair.
    """
    inventory = INVENTORY.replace(
        "{source: a3, destination: b3, replica_of: a1-b1}", "{source: a1, destination: b3}"
    )

    results = run_suite(tmp_path, inventory=inventory)

    workers_by_lane = {
        lane: {result["worker"] for result in results if result["lane"] == lane}
        for lane in ("a1-b1", "a1-b3", "a2-b2")
    }
    assert len(results) == 24
    assert workers_by_lane["a1-b1"] == workers_by_lane["a1-b3"]
    assert len(workers_by_lane["a1-b1"]) == 1
    assert workers_by_lane["a2-b2"].isdisjoint(workers_by_lane["a1-b1"])
    lanes_in_time = [
        result["lane"]
        for result in sorted(results, key=lambda result: result["time"])
        if result["lane"] != "a2-b2"
    ]
    assert lanes_in_time == ["a1-b1"] * 8 + ["a1-b3"] * 8
