"""Control groups: how every process of a lab is found again, whoever started it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from migqual.deadline import Deadline

ROOT = Path("/sys/fs/cgroup")


def roots() -> tuple[Path, ...]:
    """The hierarchies that systemd uses: the unified one, and the named one of version 1."""
    candidates = (ROOT, ROOT / "unified", ROOT / "systemd")
    return tuple(root for root in candidates if (root / "cgroup.procs").exists())


def folders(name: str) -> tuple[Path, ...]:
    return tuple(root / name for root in roots())


def processes(name: str) -> set[int]:
    """Ids of all processes below the groups called `name`."""
    found: set[int] = set()
    for folder in folders(name):
        for path in _below(folder):
            with suppress(OSError):
                found.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
    return found - {0}


def kill(name: str, deadline: Deadline) -> None:
    """End every process below `name` and remove the groups.

    A process may join late: one that a killed `up` had just started moves itself into its group.
    So both are done together until no group is left.
    """

    def gone() -> bool:
        alive = processes(name)
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive and all(_remove_groups(folder) for folder in folders(name))

    deadline.wait_for(f"processes of {name} to end", gone)


def _remove_groups(folder: Path) -> bool:
    """Remove the group and those below it; whether none is left."""
    for path in _below(folder):
        with suppress(OSError):  # busy: asked again; or gone already
            path.rmdir()
    return not folder.exists()


def _below(folder: Path) -> Iterator[Path]:
    """Deepest first."""
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)
