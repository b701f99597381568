"""`up` and `down`: the life of a lab."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from migqual import places
from migqual.deadline import Deadline
from migqual.errors import LabError, UsageError
from migqual.image.guest import GuestImage, ensure_guest_image
from migqual.image.tree import TreeSpec, ensure_tree
from migqual.lab import acceleration, cgroup, furnish, machine, network, product, state
from migqual.lab.layout import LabLayout, bulk
from migqual.lab.state import LabState, Phase
from migqual.lab.topology import LabHost, Topology

Say = Callable[[str], None]
Booting = dict[str, tuple[subprocess.Popen[bytes], socket.socket]]
BOOT_SECONDS = 90.0
NEEDED_FREE_GIB = 4
STATE_DAYS = 14
CONTROLLER_FILES = Path("/etc/netns")


@dataclass(frozen=True)
class Lab:
    """A lab that is up."""

    layout: LabLayout
    acceleration: str

    @property
    def inventory(self) -> Path:
        return self.layout.inventory


def up(topology: Topology, name: str, *, say: Say, source: str = "") -> Lab:
    """Build the lab, or return it if it is up already with the same topology.

    Leftovers of a lab that died are cleared first. Raises `LabError`; then nothing is left. Raises
    `UsageError` inside the namespace of a lab, and when it is up with another topology.
    """
    layout = LabLayout(name, topology)
    _check_machine()
    with state.exclusive():
        found = state.phase(name)
        if found is Phase.UP:
            return _same(topology, name)
        if found is Phase.LEFTOVER:
            say(f"clearing what is left of a lab {name!r} that died")
            _clear(name)
        try:
            return _build(layout, say, source)
        except BaseException:
            _clear(name)
            raise


def check_up(topology: Topology, name: str) -> None:
    """Raises what `up` would raise before it makes anything."""
    if state.phase(name) is Phase.UP:
        _same(topology, name)
    else:
        _check_machine()


def _same(topology: Topology, name: str) -> Lab:
    """The lab that is up. Raises `UsageError` when it has another topology."""
    was, there = state.read(name)
    if there.topology != topology:
        raise UsageError(
            f"lab {name} is up with another topology ({was.topology})",
            remedy=f"migqual lab down --name {name}, or choose another --name",
        )
    return Lab(there, was.acceleration)


def down(name: str) -> bool:
    """End the lab and remove all of it. Returns whether there was anything.

    Raises `UsageError` inside the namespace of a lab: one cannot end what one runs in.
    """
    check_outside()
    with state.exclusive():
        there = bool(state.traces(name))
        _clear(name)
    return there


def _build(layout: LabLayout, say: Say, source: str) -> Lab:
    record = LabState(
        name=layout.name,
        phase=Phase.BUILDING,
        topology=source,
        acceleration=layout.topology.acceleration,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        guest_key="",
    )
    state.write(layout, record)
    with ThreadPoolExecutor(max_workers=4) as pool:
        image = pool.submit(ensure_guest_image, places.cache(), say=say)
        trees = ensure_trees(layout.topology, say)
        _furnish(layout)
        network.build(layout)
        processes = _boot(layout, trees)
        try:
            guest = image.result()
            chosen = acceleration.choose(layout, trees[layout.hosts[0].name], guest, say)
            _await(layout, processes)
        except BaseException:
            for process, _ in processes.values():
                machine.reap(process)
            raise
    _finish(layout, record, guest, chosen)
    return Lab(layout, chosen)


def _finish(layout: LabLayout, record: LabState, guest: GuestImage, chosen: str) -> None:
    product.write_inventory(layout, acceleration=chosen)
    folder = CONTROLLER_FILES / layout.controller
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    (folder / "hosts").write_text(furnish.controller_hosts_file(layout))
    (folder / "ssh" / "ssh_config").write_text(furnish.controller_ssh_config(layout))
    done = replace(record, phase=Phase.UP, acceleration=chosen, guest_key=guest.key)
    state.write(layout, done)


def ensure_trees(topology: Topology, say: Say) -> dict[str, Path]:
    """Host name to root tree; trees that several hosts share are built once, side by side."""
    specs = {name: tree_of(host) for name, host in topology.hosts.items()}
    wanted = {spec for spec in specs.values() if isinstance(spec, TreeSpec)}
    with ThreadPoolExecutor(max_workers=2) as pool:
        made = dict(
            zip(
                wanted,
                pool.map(lambda spec: ensure_tree(spec, places.cache(), say), wanted),
                strict=True,
            )
        )
    return {
        name: made[spec] if isinstance(spec, TreeSpec) else spec for name, spec in specs.items()
    }


def tree_of(host: LabHost) -> TreeSpec | Path:
    if host.rootfs is not None:
        return host.rootfs
    return TreeSpec(host.release, tuple(sorted({*host.role.packages, *host.packages})))


def _furnish(layout: LabLayout) -> None:
    for folder in (layout.shared, layout.exports):
        folder.mkdir(parents=True)
    _prune_states()
    furnish.make_keys(layout)
    for host in layout.hosts:
        furnish.furnish(layout, host)


def _prune_states() -> None:
    """Remove saved states that no run has used for a while."""
    folder = machine.saved_states()
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - STATE_DAYS * 86400
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # of another lab that comes up just now
            if file.stat().st_mtime < oldest:
                file.unlink()


def _boot(layout: LabLayout, trees: dict[str, Path]) -> Booting:
    started = {}
    for host in layout.hosts:
        listener = machine.readiness(host)
        started[host.name] = (machine.boot(layout, host, trees[host.name]), listener)
    return started


def _await(layout: LabLayout, processes: Booting) -> None:
    deadline = Deadline(BOOT_SECONDS)
    for host in layout.hosts:
        process, listener = processes[host.name]
        machine.wait_ready(host, listener, process, deadline)
        listener.close()


def _clear(name: str) -> None:
    """Remove whatever bears the lab's name, as far as it is there."""
    deadline = Deadline(30.0)
    cgroup.kill(f"migqual/{name}", deadline)
    for namespace in state.namespaces_of(name):
        _end_processes_in(namespace, deadline)
        subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)
        shutil.rmtree(CONTROLLER_FILES / namespace, ignore_errors=True)
    machine.clear_nspawn(name)
    for folder in (bulk(name), places.labs() / name):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        bulk(name).parent.rmdir()
    for folder in cgroup.folders("migqual"):
        with suppress(OSError):
            folder.rmdir()
    with suppress(OSError):
        CONTROLLER_FILES.rmdir()
    network.release_folder()


def _end_processes_in(namespace: str, deadline: Deadline) -> None:
    """End what runs in a namespace of the lab, but not the command that asks for it."""

    def gone() -> bool:
        listed = subprocess.run(
            ["ip", "netns", "pids", namespace], check=False, capture_output=True, text=True
        )
        others = {int(pid) for pid in listed.stdout.split()} - _ancestry()
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not others

    deadline.wait_for(f"processes in {namespace} to end", gone)


def _ancestry() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def check_outside() -> None:
    """Raises `UsageError` inside the namespace of a lab, from where the machine cannot be seen."""
    if namespace := state.entered():
        raise UsageError(
            f"this is inside the lab's namespace {namespace}: mounts and processes seen here are "
            "not the machine's",
            remedy="leave `migqual lab exec` first",
        )


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise LabError("a lab can only be built by root", remedy="run as root")
    check_outside()
    if not cgroup.roots():
        raise LabError("no writable control groups", remedy="mount a cgroup hierarchy with systemd")
    folder = places.cache()
    folder.mkdir(parents=True, exist_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < NEEDED_FREE_GIB:
        raise LabError(
            f"{folder}: {free_gib:.1f} GiB free, {NEEDED_FREE_GIB} needed",
            remedy="free some, or set MIGQUAL_CACHE to a folder on another disk",
        )
