"""What is written down about a lab, and how leftovers are told from a lab that lives."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from migqual import places
from migqual.errors import UsageError
from migqual.lab import cgroup
from migqual.lab.layout import LabLayout, bulk, check_name
from migqual.lab.topology import Topology

NAMESPACES = Path("/run/netns")


class Phase(StrEnum):
    ABSENT = "absent"
    BUILDING = "building"
    UP = "up"
    LEFTOVER = "leftover"


@dataclass(frozen=True)
class LabState:
    """Written before anything is made, so that `down` knows a lab that `up` did not finish."""

    name: str
    phase: Phase
    topology: str
    acceleration: str
    started: str
    guest_key: str


def write(layout: LabLayout, state: LabState) -> None:
    layout.folder.mkdir(parents=True, exist_ok=True)
    half = layout.folder / ".lab.json.half"
    text = json.dumps(asdict(state) | {"layout": layout.topology.model_dump(mode="json")})
    half.write_text(text)
    half.rename(layout.folder / "lab.json")


def read(name: str) -> tuple[LabState, LabLayout]:
    """The state of a lab that is there. Raises `UsageError` when there is none."""
    check_name(name)
    file = places.labs() / name / "lab.json"
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError:
        raise UsageError(f"no lab named {name!r}", remedy="migqual lab up") from None
    topology = Topology.model_validate(raw.pop("layout"))
    raw["phase"] = Phase(raw["phase"])
    return LabState(**raw), LabLayout(name, topology)


def phase(name: str) -> Phase:
    """Whether the lab lives. A lab with a dead host is a leftover."""
    try:
        state, layout = read(name)
    except UsageError:
        return Phase.LEFTOVER if traces(name) else Phase.ABSENT
    alive = all(cgroup.processes(host.cgroup) for host in layout.hosts)
    if state.phase is Phase.UP and alive and all(_namespaces_of(name)):
        return Phase.UP
    return Phase.LEFTOVER


def traces(name: str) -> list[str]:
    """Everything on this machine that bears the lab's name, in words."""
    found = [f"process {pid}" for pid in sorted(cgroup.processes(f"migqual/{name}"))]
    found += [f"namespace {path.name}" for path in _namespaces_of(name)]
    folders = (places.labs() / name, bulk(name), *cgroup.folders(f"migqual/{name}"))
    found += [f"folder {folder}" for folder in folders if folder.exists()]
    return found


def _namespaces_of(name: str) -> list[Path]:
    return sorted(NAMESPACES.glob(f"mq-{name}.*"))


def namespaces_of(name: str) -> list[str]:
    return [path.name for path in _namespaces_of(name)]


def entered() -> str | None:
    """The namespace of a lab in which this process runs, or None in the machine's own."""
    ours = Path("/proc/self/ns/net").stat()
    for path in NAMESPACES.glob("mq-*.*"):
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), ours):
                return path.name
    return None


def names() -> list[str]:
    """Labs of which there is anything."""
    folders = (places.labs(), bulk("any").parent)
    found = {path.name for folder in folders for path in folder.glob("*") if path.is_dir()}
    found |= {path.name[3:].partition(".")[0] for path in NAMESPACES.glob("mq-*.*")}
    for root in cgroup.folders("migqual"):
        found |= {path.name for path in root.glob("*") if path.is_dir()}
    return sorted(found)


@contextmanager
def exclusive() -> Iterator[None]:
    """One process at a time makes or unmakes labs; the lock leaves no file and dies with us."""
    descriptor = _lock(places.labs())
    try:
        yield
    finally:
        with suppress(OSError):  # it goes with the last lab
            places.labs().rmdir()
            places.labs().parent.rmdir()
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """Lock the folder; again, when whoever had the lock removed it meanwhile."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(folder.stat(), os.fstat(descriptor)):
                    return descriptor
            os.close(descriptor)
