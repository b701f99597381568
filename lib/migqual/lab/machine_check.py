"""Check whether the machine can run a lab."""

import os
import shutil

from migqual import paths
from migqual.errors import LabError, UsageError
from migqual.lab import cgroup, state

REQUIRED_FREE_GIB = 4


def check_outside_lab() -> None:
    """Raise `UsageError` if the process runs inside the namespace of a lab.

    Such a process cannot see the mounts and processes of the machine.
    """
    if namespace := state.find_current_namespace():
        raise UsageError(
            f"this process runs inside the lab's namespace {namespace}: the machine's own mounts "
            "and processes are not visible here",
            remedy="leave `migqual lab exec` first",
        )


def check_machine() -> None:
    """Check the conditions of a lab: user root, no lab around the process, cgroups, free space.

    Raises:
        LabError: The machine does not fulfill a condition.
        UsageError: The process runs inside the namespace of a lab.
    """
    if os.geteuid() != 0:
        raise LabError("a lab can only be built by root", remedy="run as root")
    check_outside_lab()
    if not cgroup.list_hierarchies():
        raise LabError("no writable control groups", remedy="mount a cgroup hierarchy with systemd")
    folder = paths.get_cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < REQUIRED_FREE_GIB:
        raise LabError(
            f"{folder}: {free_gib:.1f} GiB free, {REQUIRED_FREE_GIB} needed",
            remedy="free disk space, or set MIGQUAL_CACHE to a folder on another disk",
        )
