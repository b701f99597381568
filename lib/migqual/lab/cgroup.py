"""Find and kill all processes of a lab, which are in the control group (cgroup) of the lab.

A process stays in the control group even after the death of the parent process.
"""

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
    """Return the root folder of each cgroup hierarchy that systemd uses on the machine.

    systemd uses the unified hierarchy (cgroup version 2), the hierarchy `name=systemd` of cgroup
    version 1, or both hierarchies.
    """
    candidates = (CGROUP_ROOT, CGROUP_ROOT / "unified", CGROUP_ROOT / "systemd")
    return tuple(root for root in candidates if (root / "cgroup.procs").exists())


def list_group_folders(name: str) -> tuple[Path, ...]:
    """Return the folder of control group `name` in each hierarchy. The folder may be missing."""
    return tuple(root / name for root in list_hierarchies())


def list_group_pids(name: str) -> set[int]:
    """Return the PIDs of all processes in the control group `name` and in all child groups."""
    pids: set[int] = set()
    for folder in list_group_folders(name):
        for path in _walk_groups(folder):
            with suppress(OSError):
                pids.update(int(pid) for pid in (path / "cgroup.procs").read_text().split())
    return pids - {0}


def kill_group(name: str, deadline: Deadline) -> None:
    """Kill all processes in a control group and in all child groups, then remove the groups.

    A process that `migqual lab up` has just started can still join the group. So the function
    kills processes and removes groups again, until no group is left.

    Args:
        name: Path of the group below the root of a hierarchy, for example `migqual/LAB`.
        deadline: Time limit for the whole function.

    Raises:
        TimedOut: A process or a group is left at the deadline.
    """

    def kill_and_remove() -> bool:
        pids = list_group_pids(name)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids and all(_remove_groups(folder) for folder in list_group_folders(name))

    deadline.wait_for(f"end of the processes in cgroup {name}", kill_and_remove)


def remove_unified_groups(name: str) -> None:
    """Remove the empty cgroup v2 groups of a killed lab if the machine uses cgroup v1.

    Lab hosts create cgroup v2 groups even if the machine itself uses cgroup v1. To reach these
    groups, the function mounts cgroup v2 in a private mount namespace. If the machine already has
    cgroup v2 at /sys/fs/cgroup, the function does nothing, because `kill_group` removes the groups.

    Args:
        name: Path of the control group below the root of the hierarchy.
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
    """Remove the control group at `folder` and all child groups; return True if none is left."""
    for path in _walk_groups(folder):
        with suppress(OSError):  # a busy group stays; a group may be gone already
            path.rmdir()
    return not folder.exists()


def _walk_groups(folder: Path) -> Iterator[Path]:
    """Yield the folder of a control group and of all child groups, deepest folder first."""
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)
