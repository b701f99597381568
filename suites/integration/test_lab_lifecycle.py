"""A removed lab leaves no object on the machine, even if the process that built it was killed.

The tests build labs, so run the tests directly on the machine, as root:
`.venv/bin/pytest suites/integration/test_lab_lifecycle.py`.
"""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from migqual import paths
from migqual.deadline import Deadline
from migqual.errors import LabError
from migqual.inventory.entities import Acceleration
from migqual.lab import cgroup, lifecycle, state
from migqual.lab.layout import LabLayout
from migqual.lab.local_command import run_local_command, try_local_command
from migqual.lab.state import LabPhase
from migqual.lab.topology import LabHost, LabPair, LabRole, Topology

# The tests run one after another: each test compares the whole machine before and after the test.
pytestmark = [pytest.mark.observer_check, pytest.mark.xdist_group("lab-lifecycle")]

OUTSIDE_ADDRESSES = ("192.0.2.1", "2001:db8::1")
WATCHED_FOLDERS = (
    *(Path("/run"), Path("/etc/netns"), paths.get_cache_folder() / "labs"),
    *cgroup.list_group_folders("migqual"),
)
# A run that records a file in the journal before the file is made, and is then killed.
KILLED_RUN_SCRIPT = """
import os, signal, sys
from pathlib import Path
from migqual.hosts.journal import Journal
from migqual.inventory.file import load_inventory
journal = Journal("run", load_inventory(Path(sys.argv[1])))
journal.record("a1", "image", "/srv/ours", [("rm", "-f", "--", "/srv/ours")])
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class MachineSnapshot:
    """A snapshot of all parts of the machine where a lab could leave an object."""

    mounts: frozenset[str]
    files: frozenset[str]
    processes: frozenset[str]
    loop_devices: frozenset[str]
    network: frozenset[str]

    def list_new_traces(self, before: "MachineSnapshot", lab: str) -> list[str]:
        """List the objects that are in this snapshot, but not in the earlier snapshot `before`.

        The objects are mounts, files, processes, loop devices and network settings. Objects of
        labs other than `lab` are omitted.
        """
        other_lab = re.compile(rf"(mq-|migqual/(labs/)?)(?!{lab}\b)[a-z][a-z0-9]*\b")
        return [
            f"{field.name}: {line}"
            for field in fields(self)
            for line in sorted(getattr(self, field.name) - getattr(before, field.name))
            if not other_lab.search(line)
        ]


def take_snapshot() -> MachineSnapshot:
    return MachineSnapshot(
        mounts=frozenset(Path("/proc/mounts").read_text().splitlines()),
        files=frozenset(str(path) for folder in WATCHED_FOLDERS for path in _walk_files(folder)),
        processes=frozenset(_list_lab_processes()),
        loop_devices=frozenset(map(str, Path("/sys/block").glob("loop*/loop/backing_file"))),
        network=list_network_state(),
    )


def list_network_state() -> frozenset[str]:
    """List links, addresses, routes and firewall rules of the machine's own namespace."""
    listings = (
        *(("ip", "-o", "link"), ("ip", "-o", "addr")),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("nft", "list", "ruleset"),
    )
    return frozenset(line for argv in listings for line in run_local_command(argv).splitlines())


def _walk_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=None):
        if Path(root).parent in {paths.get_labs_folder(), paths.get_cache_folder() / "labs"}:
            folders.clear()
        yield from (Path(root, name) for name in (*folders, *files))


def _list_lab_processes() -> Iterator[str]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command_line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "mq-" in command_line or "migqual/labs" in command_line:
            yield f"{file.parent.name} {command_line}"


@pytest.fixture
def lab_name() -> Iterator[str]:
    """Yield an unused lab name, and remove the lab of this name afterwards."""
    with _unused_lab_name() as name:
        yield name


@pytest.fixture
def second_lab_name() -> Iterator[str]:
    with _unused_lab_name() as name:
        yield name


@contextmanager
def _unused_lab_name() -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    lifecycle.remove_lab(name)


def run_lab_up(lab_name: str, umask: str = "022") -> LabLayout:
    run_local_command(["sh", "-c", f'umask {umask}; "$@"', "sh", *_build_up_command(lab_name)])
    return state.read_lab_state(lab_name)[1]


def _build_up_command(lab_name: str) -> list[str]:
    migqual = [sys.executable, "-m", "migqual.cli"]
    return [*migqual, "lab", "up", "--name", lab_name, "--topology", "single-pair"]


def test_down_leaves_nothing(lab_name: str) -> None:
    """
    After `migqual lab down`, a lab leaves only the cache behind.

    Expected: mounts, processes, loop devices, files and the machine's network are as before.
    """
    snapshot_before = take_snapshot()

    run_lab_up(lab_name)
    traces_while_up = take_snapshot().list_new_traces(snapshot_before, lab_name)
    assert lifecycle.remove_lab(lab_name)

    assert any("mq-" in line for line in traces_while_up), "the snapshot does not show the lab"
    assert state.list_lab_resources(lab_name) == []
    assert take_snapshot().list_new_traces(snapshot_before, lab_name) == []


@pytest.mark.parametrize("seconds", [0.005, 0.06, 0.15, 0.3, 0.5, 0.8], ids="{}s".format)
def test_next_up_clears_a_killed_up(lab_name: str, seconds: float) -> None:
    """
    SIGKILL of `migqual lab up` at any moment harms neither the next `up` nor `down`.

    Preconditions: the process is killed at the given time after it creates the first object of
    the lab on the machine.
    Expected: `up` builds a whole lab from the state left by the kill. Then `down` leaves no object
    of the lab on the machine.
    """
    snapshot_before = take_snapshot()
    _kill_up_after(lab_name, seconds)

    layout = run_lab_up(lab_name)

    assert state.detect_lab_phase(lab_name) is LabPhase.UP
    assert try_local_command([*_build_ssh_command(layout, "b1"), "true"])
    lifecycle.remove_lab(lab_name)
    assert state.list_lab_resources(lab_name) == []
    assert take_snapshot().list_new_traces(snapshot_before, lab_name) == []


def test_process_that_joins_the_cgroup_late_is_killed(
    lab_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A process joining a cgroup during the kill of the cgroup is killed, too.

    Preconditions: the first list of the processes in the cgroup is empty; every later list
    contains a process.
    Expected: the process is killed and the cgroups are gone, long before the deadline.
    """
    group = f"migqual/{lab_name}/a1"
    for folder in cgroup.list_group_folders(group):
        folder.mkdir(parents=True)
    list_processes = cgroup.list_group_pids
    listings: list[set[int]] = []

    def list_processes_too_early(group_name: str) -> set[int]:
        listings.append(list_processes(group_name) if listings else set())
        return listings[-1]

    monkeypatch.setattr(cgroup, "list_group_pids", list_processes_too_early)
    with subprocess.Popen(["sleep", "60"]) as late_process:
        for folder in cgroup.list_group_folders(group):
            (folder / "cgroup.procs").write_text(str(late_process.pid))

        cgroup.kill_group(f"migqual/{lab_name}", Deadline(5.0))

        assert late_process.wait(timeout=5) == -signal.SIGKILL
    assert not any(folder.exists() for folder in cgroup.list_group_folders(f"migqual/{lab_name}"))


def test_down_clears_a_killed_up(lab_name: str) -> None:
    """`down` alone, without another `up`, removes every object that a killed `up` left."""
    snapshot_before = take_snapshot()
    _kill_up_after(lab_name, 0.4)
    assert state.detect_lab_phase(lab_name) is LabPhase.LEFTOVER

    assert lifecycle.remove_lab(lab_name)

    assert state.list_lab_resources(lab_name) == []
    assert take_snapshot().list_new_traces(snapshot_before, lab_name) == []


def test_host_that_does_not_boot_shows_its_console(lab_name: str, tmp_path: Path) -> None:
    """
    If a host ends while booting, the error shows the last lines of the host's console, and the
    console log is kept.

    Preconditions: a root file system without an init program.
    Expected: the error has the message of systemd-nspawn and names the kept console log. No part
    of the lab is left.
    """
    (tmp_path / "rootfs" / "usr").mkdir(parents=True)
    host = LabHost(rootfs=tmp_path / "rootfs")
    topology = Topology(
        hosts={"a1": host, "b1": host, "client": LabHost(role=LabRole.CLIENT)},
        pairs=(LabPair(source="a1", destination="b1"),),
        acceleration=Acceleration.TCG,
    )

    with pytest.raises(LabError, match="ended while booting\\n    ") as failure:
        lifecycle.start_lab(topology, lab_name, report_progress=lambda _line: None)

    kept_log = re.search(r"read the console log (\S+);", failure.value.remedy)
    assert kept_log is not None
    assert Path(kept_log[1]).read_text().strip()
    Path(kept_log[1]).unlink()
    assert state.list_lab_resources(lab_name) == []


def test_two_labs_side_by_side(lab_name: str, second_lab_name: str) -> None:
    """
    Two labs with the same addresses run at the same time, and do not affect each other.

    Preconditions: the second lab is built with umask 077, as on a hardened machine.
    Expected: the controller of each lab reaches the hosts of that lab. The end of the first lab
    does not affect the second lab.
    """
    first, second = run_lab_up(lab_name), run_lab_up(second_lab_name, umask="077")

    assert {_read_machine_id(first), _read_machine_id(second)} == {
        layout.get_host("a1").uuid.hex for layout in (first, second)
    }
    lifecycle.remove_lab(lab_name)
    assert state.detect_lab_phase(second_lab_name) is LabPhase.UP
    assert _read_machine_id(second) == second.get_host("a1").uuid.hex


def test_lab_network_has_no_route_outside(lab_name: str) -> None:
    """
    No namespace of a lab has a route to an address outside the lab, and the machine's own
    network is not changed.

    Expected: no such route exists, neither before nor after the test kills a host. Links,
    addresses, routes and firewall rules of the machine are as before.
    """
    network_before = list_network_state()

    layout = run_lab_up(lab_name)
    routes_outside = _list_routes_outside(lab_name)
    cgroup.kill_group(layout.get_host("a1").cgroup_name, Deadline(10.0))

    assert len(state.list_namespaces(lab_name)) == len(layout.hosts) + 2
    assert routes_outside == []
    assert _list_routes_outside(lab_name) == []
    assert list_network_state() == network_before


def test_sweep_after_a_killed_run(lab_name: str, tmp_path: Path) -> None:
    """
    `migqual sweep` outside the lab removes the objects in the journal of a killed run.

    Preconditions: two files on a host; only the first is in the journal of a killed process.
    Expected: the first file is removed, the second file stays, and the journal is gone.
    """
    layout = run_lab_up(lab_name)
    run_local_command([*_build_ssh_command(layout, "a1"), "touch", "/srv/ours", "/srv/theirs"])
    environment = {**os.environ, "MIGQUAL_STATE": str(tmp_path)}
    killed_command = [sys.executable, "-c", KILLED_RUN_SCRIPT, str(layout.inventory_file)]
    assert (
        subprocess.run(killed_command, env=environment, check=False).returncode == -signal.SIGKILL
    )
    assert len(list((tmp_path / "journal").iterdir())) == 1

    sweep_command = [sys.executable, "-m", "migqual.cli", "sweep"]
    result = subprocess.run(
        sweep_command, env=environment, capture_output=True, text=True, check=True
    )

    assert "removed image /srv/ours on a1" in result.stdout
    assert run_local_command(
        [*_build_ssh_command(layout, "a1"), "find", "/srv", "-type", "f"]
    ).split() == ["/srv/theirs"]
    assert list((tmp_path / "journal").iterdir()) == []


def _list_routes_outside(lab_name: str) -> list[str]:
    return [
        f"{namespace}: {address}"
        for namespace in state.list_namespaces(lab_name)
        for address in OUTSIDE_ADDRESSES
        if try_local_command(["ip", "-n", namespace, "route", "get", address])
    ]


def _build_ssh_command(layout: LabLayout, host: str) -> list[str]:
    return ["ip", "netns", "exec", layout.controller_namespace, "ssh", host]


def _read_machine_id(layout: LabLayout) -> str:
    return run_local_command([*_build_ssh_command(layout, "a1"), "cat", "/etc/machine-id"]).strip()


def _kill_up_after(lab_name: str, seconds: float) -> None:
    """Start `migqual lab up`, and kill the command `seconds` after the file `lab.json` appears.

    The processes that the command started stay alive, and the next cleanup must find all of these
    processes.
    """
    process = subprocess.Popen(
        _build_up_command(lab_name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        lab_file = paths.get_labs_folder() / lab_name / "lab.json"
        Deadline(30.0).wait_for("lab up to start", lab_file.exists, interval_s=0.001)
        Deadline(seconds).pause(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
