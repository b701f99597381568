"""A lab comes and goes without a trace, whatever happens to the process that builds it.

These tests build labs of their own, so they run on the machine itself, as root:
`.venv/bin/pytest suites/oracles/test_lab_life.py`.
"""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from migqual import places
from migqual.deadline import Deadline
from migqual.lab import cgroup, life, state
from migqual.lab.command import run, succeeds
from migqual.lab.layout import LabLayout
from migqual.lab.state import Phase

# One after the other: each looks for traces on the whole machine.
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("lab-life")]

OUTSIDE = ("192.0.2.1", "2001:db8::1")
FOLDERS = (Path("/run"), places.cache() / "labs", Path("/etc/netns"), *cgroup.folders("migqual"))
# A run that writes down what it is about to make, and is killed.
DIES = """
import os, signal, sys
from pathlib import Path
from migqual.hosts.journal import Journal
from migqual.model.inventory_file import load_inventory
journal = Journal("run", load_inventory(Path(sys.argv[1])))
journal.record("a1", "image", "/srv/ours", [("rm", "-f", "--", "/srv/ours")])
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Machine:
    """All of this machine that a lab could leave a trace in."""

    mounts: frozenset[str]
    files: frozenset[str]
    processes: frozenset[str]
    loops: frozenset[str]
    network: frozenset[str]

    def new_since(self, before: "Machine", lab: str) -> list[str]:
        """What is there now and was not, less what bears the name of another lab."""
        another = re.compile(rf"(mq-|migqual/(labs/)?)(?!{lab}\b)[a-z][a-z0-9]*\b")
        return [
            f"{field.name}: {line}"
            for field in fields(self)
            for line in sorted(getattr(self, field.name) - getattr(before, field.name))
            if not another.search(line)
        ]


def machine() -> Machine:
    return Machine(
        mounts=frozenset(Path("/proc/mounts").read_text().splitlines()),
        files=frozenset(str(path) for folder in FOLDERS for path in _below(folder)),
        processes=frozenset(_lab_processes()),
        loops=frozenset(str(path) for path in Path("/sys/block").glob("loop*/loop/backing_file")),
        network=network(),
    )


def network() -> frozenset[str]:
    """Links, addresses, routes and firewall rules of the machine's own namespace."""
    listings = (
        ("ip", "-o", "link"),
        ("ip", "-o", "addr"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("nft", "list", "ruleset"),
    )
    return frozenset(line for argv in listings for line in run(argv).splitlines())


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=None):
        if Path(root).parent in {places.labs(), places.cache() / "labs"}:
            folders.clear()
        yield from (Path(root, name) for name in (*folders, *files))


def _lab_processes() -> Iterator[str]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "mq-" in words or "migqual/labs" in words:
            yield f"{file.parent.name} {words}"


@pytest.fixture
def name() -> Iterator[str]:
    """A lab's name that nobody else uses; whatever bears it is gone afterwards."""
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    life.down(name)


@pytest.fixture
def second_name() -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    life.down(name)


def up(name: str) -> LabLayout:
    run(_up(name))
    return state.read(name)[1]


def _up(name: str) -> list[str]:
    tail = ["lab", "up", "--name", name, "--topology", "single-pair"]
    return [sys.executable, "-m", "migqual.cli", *tail]


def test_down_leaves_nothing(name: str) -> None:
    """
    A lab that was up leaves nothing behind but the cache.

    Expected: mounts, processes, loop devices, files and the machine's network are as before.
    """
    before = machine()

    up(name)
    while_up = machine().new_since(before, name)
    assert life.down(name)

    assert any("mq-" in line for line in while_up), "the comparison must see a lab"
    assert state.traces(name) == []
    assert machine().new_since(before, name) == []


@pytest.mark.parametrize("seconds", [0.005, 0.06, 0.15, 0.3, 0.5, 0.8], ids="{}s".format)
def test_a_killed_up_is_cleared_by_the_next(name: str, seconds: float) -> None:
    """
    SIGKILL of `migqual lab up` at any moment harms neither the next `up` nor `down`.

    Preconditions: the process is killed so long after it made the first trace.
    Expected: `up` builds a whole lab from that state; `down` then leaves nothing.
    """
    before = machine()
    _kill_up_after(name, seconds)

    layout = up(name)

    assert state.phase(name) is Phase.UP
    assert succeeds([*_on(layout, "b1"), "true"])
    life.down(name)
    assert state.traces(name) == []
    assert machine().new_since(before, name) == []


def test_a_process_that_joins_late_is_ended(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that moves into its group while the group is being ended goes too.

    Preconditions: the first look at the group finds nobody; then a process is in it.
    Expected: the process is ended and the groups are gone, long before the deadline.
    """
    group = f"migqual/{name}/a1"
    for folder in cgroup.folders(group):
        folder.mkdir(parents=True)
    look = cgroup.processes
    looks: list[set[int]] = []

    def look_too_early(group_name: str) -> set[int]:
        looks.append(look(group_name) if looks else set())
        return looks[-1]

    monkeypatch.setattr(cgroup, "processes", look_too_early)
    with subprocess.Popen(["sleep", "60"]) as late:
        for folder in cgroup.folders(group):
            (folder / "cgroup.procs").write_text(str(late.pid))

        cgroup.kill(f"migqual/{name}", Deadline(5.0))

        assert late.wait(timeout=5) == -signal.SIGKILL
    assert not any(folder.exists() for folder in cgroup.folders(f"migqual/{name}"))


def test_down_clears_a_killed_up(name: str) -> None:
    """`down` alone, without another `up`, leaves nothing of an `up` that was killed."""
    before = machine()
    _kill_up_after(name, 0.4)
    assert state.phase(name) is Phase.LEFTOVER

    assert life.down(name)

    assert state.traces(name) == []
    assert machine().new_since(before, name) == []


def test_two_labs_side_by_side(name: str, second_name: str) -> None:
    """
    A second lab comes and goes beside a first one with the same addresses.

    Expected: each controller reaches its own hosts; the end of one does not touch the other.
    """
    first, second = up(name), up(second_name)

    assert {_machine_id(first), _machine_id(second)} == {
        layout.host("a1").uuid.hex for layout in (first, second)
    }
    life.down(name)
    assert state.phase(second_name) is Phase.UP
    assert _machine_id(second) == second.host("a1").uuid.hex


def test_nothing_leaves_the_machine(name: str) -> None:
    """
    No namespace of a lab knows a way out, and the machine's own network is not touched.

    Expected: no route to the outside anywhere, also after a host has died; links, addresses,
    routes and firewall rules of the machine as before.
    """
    before = network()

    layout = up(name)
    ways_out = _ways_out(name)
    cgroup.kill(layout.host("a1").cgroup, Deadline(10.0))

    assert len(state.namespaces_of(name)) == len(layout.hosts) + 2
    assert ways_out == []
    assert _ways_out(name) == []
    assert network() == before


def test_a_run_that_died_is_swept(name: str, tmp_path: Path) -> None:
    """
    `migqual sweep`, typed outside the lab, removes what a killed run's journal names.

    Preconditions: two files on a host, one of them in the journal of a process that was killed.
    Expected: that one goes, the other stays, and the journal is gone.
    """
    layout = up(name)
    run([*_on(layout, "a1"), "touch", "/srv/ours", "/srv/theirs"])
    environment = {**os.environ, "MIGQUAL_STATE": str(tmp_path)}
    dying = [sys.executable, "-c", DIES, str(layout.inventory)]
    assert subprocess.run(dying, env=environment, check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "journal").iterdir())) == 1

    sweep = [sys.executable, "-m", "migqual.cli", "sweep"]
    said = subprocess.run(sweep, env=environment, capture_output=True, text=True, check=True)

    assert "removed image /srv/ours on a1" in said.stdout
    assert run([*_on(layout, "a1"), "find", "/srv", "-type", "f"]).split() == ["/srv/theirs"]
    assert list((tmp_path / "journal").iterdir()) == []


def _ways_out(name: str) -> list[str]:
    return [
        f"{namespace}: {address}"
        for namespace in state.namespaces_of(name)
        for address in OUTSIDE
        if succeeds(["ip", "-n", namespace, "route", "get", address])
    ]


def _on(layout: LabLayout, host: str) -> list[str]:
    return ["ip", "netns", "exec", layout.controller, "ssh", host]


def _machine_id(layout: LabLayout) -> str:
    return run([*_on(layout, "a1"), "cat", "/etc/machine-id"]).strip()


def _kill_up_after(name: str, seconds: float) -> None:
    """Start `up`, and kill it alone, so that whatever it started has to be found."""
    process = subprocess.Popen(_up(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        begun = places.labs() / name / "lab.json"
        Deadline(30.0).wait_for("up to begin", begun.exists, interval=0.001)
        Deadline(seconds).pause(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
