"""Find and kill all processes of a lab by control group, independent of the parent process."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from migqual.deadline import Deadline

CGROUP_ROOT = Path("/sys/fs/cgroup")
_REMOVE_UNIFIED_GROUPS_SCRIPT = """\
mount -t cgroup2 none "$1" && cd "$1" && [ -d "$2" ] && find "$2" -depth -type d -exec rmdir {} +
"""


def list_hierarchies() -> tuple[Path, ...]:
    """Return the root folders of the cgroup hierarchies used by systemd.

    systemd uses the unified hierarchy, or the named hierarchy of cgroup version 1.
    """
    candidates = (CGROUP_ROOT, CGROUP_ROOT / "unified", CGROUP_ROOT / "systemd")
    return tuple(root for root in candidates if (root / "cgroup.procs").exists())


def list_group_folders(name: str) -> tuple[Path, ...]:
    """Return the folder of the group in each hierarchy. A folder may be absent."""
    return tuple(root / name for root in list_hierarchies())


def list_group_pids(name: str) -> set[int]:
    """Return the ids of all processes in the groups called `name` and in all groups below."""
    pids: set[int] = set()
    for folder in list_group_folders(name):
        for path in _walk_groups(folder):
            with suppress(OSError):
                pids.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
    return pids - {0}


def kill_group(name: str, deadline: Deadline) -> None:
    """Kill every process in the group and below, and remove the groups.

    A process may join late: after a kill of `migqual lab up`, a process just started still
    moves into the group. So the function repeats both steps until no group is left.

    Args:
        name: Path of the group below the root of a hierarchy, for example `migqual/LAB`.
        deadline: Time limit for all steps.

    Raises:
        TimedOut: Processes or groups are left at the deadline.
    """

    def kill_and_remove() -> bool:
        pids = list_group_pids(name)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids and all(_remove_groups(folder) for folder in list_group_folders(name))

    deadline.wait_for(f"end of the processes in cgroup {name}", kill_and_remove)


def remove_unified_groups(name: str) -> None:
    """Remove the empty groups of a killed lab from the unified hierarchy.

    Hosts always use the unified hierarchy. A machine with cgroup version 1 does not mount the
    unified hierarchy, so the function mounts the hierarchy in a private namespace.

    Args:
        name: Path of the group below the root of the hierarchy.
    """
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        return
    private_mount = ("unshare", "--mount", "--propagation", "private")
    subprocess.run(
        [*private_mount, "sh", "-c", _REMOVE_UNIFIED_GROUPS_SCRIPT, "sh", str(CGROUP_ROOT), name],
        check=False,
        capture_output=True,
    )


def _remove_groups(folder: Path) -> bool:
    """Remove the group and all groups below. Return True if no group is left."""
    for path in _walk_groups(folder):
        with suppress(OSError):  # busy: asked again; or gone already
            path.rmdir()
    return not folder.exists()


def _walk_groups(folder: Path) -> Iterator[Path]:
    """Yield the folders of the group and of all groups below, deepest folder first."""
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)
