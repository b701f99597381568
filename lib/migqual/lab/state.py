"""Store the state of a lab in a file, and detect a running lab or leftovers of a dead lab."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from migqual import paths
from migqual.errors import UsageError
from migqual.inventory.entities import Acceleration
from migqual.lab import cgroup
from migqual.lab.layout import LabLayout, check_lab_name, get_disk_folder
from migqual.lab.topology import Topology

NAMESPACE_FOLDER = Path("/run/netns")


class LabPhase(StrEnum):
    """The phase of a lab: absent, being built, up, or the leftovers of a dead lab.

    `BUILDING` is only in the state file, from the start to the end of the build. `detect_lab_phase`
    never returns `BUILDING`. For an unfinished lab, the function returns `LEFTOVER`, because the
    build may have died.
    """

    ABSENT = "absent"
    BUILDING = "building"
    UP = "up"
    LEFTOVER = "leftover"


@dataclass(frozen=True)
class LabState:
    """The state of a lab in the file `lab.json`.

    `start_lab` writes the file before any other part of the lab. So `remove_lab` finds
    a lab whose start was interrupted.

    Attributes:
        name: Name of the lab.
        phase: `BUILDING` or `UP`.
        topology_name: Name or path of the topology.
        acceleration: `KVM` or `TCG`. During the build, this is the value in the topology.
        started_at: Start of the build in UTC, ISO 8601, to the second.
        guest_key: Cache key of the guest image. During the build, the key is empty.
    """

    name: str
    phase: LabPhase
    topology_name: str
    acceleration: Acceleration
    started_at: str
    guest_key: str


def write_lab_state(layout: LabLayout, state: LabState) -> None:
    """Write the state and the topology of the lab to `lab.json`, with an atomic rename."""
    layout.runtime_folder.mkdir(parents=True, exist_ok=True)
    partial_file = layout.runtime_folder / ".lab.json.half"
    text = json.dumps(asdict(state) | {"layout": layout.topology.model_dump(mode="json")})
    partial_file.write_text(text)
    partial_file.rename(layout.runtime_folder / "lab.json")


def read_lab_state(name: str) -> tuple[LabState, LabLayout]:
    """Read the state and the layout of a lab from `lab.json`.

    Raises:
        UsageError: No lab has the name, or the name is not allowed.
    """
    check_lab_name(name)
    file = paths.get_labs_folder() / name / "lab.json"
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError:
        raise UsageError(
            f"no lab named {name!r}", remedy=f"run `migqual lab up --name {name}`"
        ) from None
    topology = Topology.model_validate(raw.pop("layout"))
    raw["phase"] = LabPhase(raw["phase"])
    raw["acceleration"] = Acceleration(raw["acceleration"])
    return LabState(**raw), LabLayout(name, topology)


def detect_lab_phase(name: str) -> LabPhase:
    """Detect the phase of a lab from the state file, the processes and the network namespaces.

    Returns:
        `UP` for a complete lab with a process on every host. `LEFTOVER` for an unfinished lab,
        a lab with a dead host or a lab without one of its namespaces. `ABSENT` if no part of the
        lab exists.
    """
    try:
        state, layout = read_lab_state(name)
    except UsageError:
        return LabPhase.LEFTOVER if list_lab_resources(name) else LabPhase.ABSENT
    hosts_running = all(
        cgroup.list_group_pids(host.cgroup_name) or host.power_file.exists()
        for host in layout.hosts
    )
    has_namespaces = set(layout.namespaces) <= set(list_namespaces(name))
    if state.phase is LabPhase.UP and hosts_running and has_namespaces:
        return LabPhase.UP
    return LabPhase.LEFTOVER


def list_lab_resources(name: str) -> list[str]:
    """List the processes, namespaces and folders of the lab, as text for messages."""
    resources = [f"process {pid}" for pid in sorted(cgroup.list_group_pids(f"migqual/{name}"))]
    resources += [f"namespace {path.name}" for path in _list_namespace_paths(name)]
    folders = (
        paths.get_labs_folder() / name,
        get_disk_folder(name),
        *cgroup.list_group_folders(f"migqual/{name}"),
    )
    resources += [f"folder {folder}" for folder in folders if folder.exists()]
    return resources


def _list_namespace_paths(name: str) -> list[Path]:
    return sorted(NAMESPACE_FOLDER.glob(f"mq-{name}.*"))


def list_namespaces(name: str) -> list[str]:
    """List the names of the lab's network namespaces, sorted."""
    return [path.name for path in _list_namespace_paths(name)]


def find_current_namespace() -> str | None:
    """Return the name of the current network namespace if a lab created it, else None."""
    return _find_namespace(Path("/proc/self/ns/net"))


def _find_namespace(file: Path) -> str | None:
    """Return the name of the network namespace `file` if a lab created it, else None."""
    own_stat = file.stat()
    for path in NAMESPACE_FOLDER.glob("mq-*.*"):
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), own_stat):
                return path.name
    return None


def read_parent_pid(pid: int) -> int:
    """Read the id of the parent of a process (proc(5))."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(")")[2].split()[1])


def find_outside_ancestor() -> int | None:
    """Return the PID of the nearest ancestor process outside all lab namespaces, or None."""
    pid = os.getpid()
    while pid > 1:
        pid = read_parent_pid(pid)
        with suppress(OSError):
            if _find_namespace(Path(f"/proc/{pid}/ns/net")) is None:
                return pid
    return None


def list_lab_names() -> list[str]:
    """List the names of all labs with a folder, namespace or control group on the machine."""
    folders = (paths.get_labs_folder(), get_disk_folder("any").parent)
    lab_names = {path.name for folder in folders for path in folder.glob("*") if path.is_dir()}
    lab_names |= {path.name[3:].partition(".")[0] for path in NAMESPACE_FOLDER.glob("mq-*.*")}
    for root in cgroup.list_group_folders("migqual"):
        lab_names |= {path.name for path in root.glob("*") if path.is_dir()}
    return sorted(lab_names)


@contextmanager
def lock_labs() -> Iterator[None]:
    """Lock the labs of the machine while the block runs.

    Only the process with the lock may build or remove labs. Other processes wait. The lock is a
    flock(2) on the folder of the labs, so no lock file is left, and the lock ends with the
    process.
    """
    descriptor = _lock_folder(paths.get_labs_folder())
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that still contains a lab stays
            paths.get_labs_folder().rmdir()
            paths.get_labs_folder().parent.rmdir()
        os.close(descriptor)


def _lock_folder(folder: Path) -> int:
    """Create and lock a folder, and return the file descriptor that holds the lock.

    The function tries again if the previous holder of the lock has removed the folder.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(folder.stat(), os.fstat(descriptor)):
                    return descriptor
            os.close(descriptor)
