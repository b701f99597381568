"""Twins of a pair share its tests, each test runs once, and every record is one of the pair."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migqual import places

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
      - {source: a3, destination: b3, twin_of: a1-b1}
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
import json, os
from pathlib import Path
import pytest
from fixtures.plugins.identity import pair_of, plain_id
from fixtures.plugins.stash import RUN

@pytest.fixture(scope="session")
def pair(request):
    return request.param

@pytest.mark.parametrize("number", range(8))
def test_it(pair, number, request):
    judged = pair_of(request.node, request.config.stash[RUN].pairs)
    told = {
        "test": plain_id(request.node, judged).partition("::")[2],
        "lane": pair,
        "judged": judged.id,
        "worker": os.environ["PYTEST_XDIST_WORKER"],
    }
    Path(f"{number}-{judged.id}.json").write_text(json.dumps(told))
"""
PLUGINS = ("session", "requirements", "lanes")


def run_suite(folder: Path, *options: str) -> list[dict[str, str]]:
    """What each test that ran tells of itself."""
    (folder / "inventory.yml").write_text(INVENTORY)
    (folder / "known_hosts").touch()
    (folder / "test_lanes.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers = oracle\n    selftest\n    requirement\n"
    )
    plugins = [word for name in PLUGINS for word in ("-p", f"fixtures.plugins.{name}")]
    workers = ("-n", "3", "--dist", "loadgroup")
    command = [sys.executable, "-m", "pytest", *plugins, "--inventory=inventory.yml", *workers]
    done = subprocess.run(
        [*command, *options, "test_lanes.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(places.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def test_a_twin_takes_half_of_the_tests_of_its_pair(tmp_path: Path) -> None:
    """
    Preconditions: two pairs, a twin of the first, three workers; eight tests for each pair.
    Expected: each test runs once for each pair; the first pair's are shared with the twin, and all
    of them count for the pair; each lane has a worker of its own.
    """
    found = run_suite(tmp_path)
    lanes = [one["lane"] for one in found]

    assert sorted((one["judged"], one["test"]) for one in found) == [
        (pair, f"test_it[{number}]") for pair in ("a1-b1", "a2-b2") for number in range(8)
    ]
    assert {lane: lanes.count(lane) for lane in lanes} == {"a1-b1": 4, "a3-b3": 4, "a2-b2": 8}
    assert {one["judged"] for one in found if one["lane"] == "a3-b3"} == {"a1-b1"}
    assert len({(one["lane"], one["worker"]) for one in found}) == 3
    assert len({one["worker"] for one in found}) == 3


def test_spread_tests_run_on_one_lane_of_all(tmp_path: Path) -> None:
    """Expected: each of eight tests runs once, on three lanes."""
    found = run_suite(tmp_path, "--spread")

    assert sorted(one["test"] for one in found) == [f"test_it[{number}]" for number in range(8)]
    assert {one["lane"] for one in found} == {"a1-b1", "a2-b2", "a3-b3"}
