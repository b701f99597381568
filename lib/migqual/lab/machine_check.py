"""Check whether the machine can run a lab."""

import os
import shutil

from migqual import paths
from migqual.errors import LabError, UsageError
from migqual.lab import cgroup, state

REQUIRED_FREE_GIB = 4


def check_outside_lab() -> None:
    """Raise `UsageError` if the current process runs inside a network namespace of a lab.

    Such a process cannot see the mounts and control groups of the machine.
    """
    if namespace := state.find_current_namespace():
        raise UsageError(
            f"this process runs inside the lab's namespace {namespace}, which hides the mounts "
            "and control groups of the machine",
            remedy="leave the shell of `migqual lab exec`, then run the command again",
        )


def check_machine() -> None:
    """Check whether a lab can run on the machine.

    The user must be root. cgroups must be mounted in /sys/fs/cgroup. The disk of the cache folder
    must have 4 GiB of free space.

    Raises:
        LabError: The machine or the user does not meet a condition.
        UsageError: The current process runs inside a network namespace of a lab.
    """
    if os.geteuid() != 0:
        raise LabError("a lab can only be built by root", remedy="run as root")
    check_outside_lab()
    if not cgroup.list_hierarchies():
        raise LabError(
            "neither cgroup2 nor the cgroup v1 hierarchy `name=systemd` is mounted in "
            "/sys/fs/cgroup",
            remedy="run `mount -t cgroup2 none /sys/fs/cgroup`, or use a privileged container",
        )
    folder = paths.get_cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < REQUIRED_FREE_GIB:
        raise LabError(
            f"the cache folder {folder} has {free_gib:.1f} GiB of free disk space, but a lab needs "
            f"{REQUIRED_FREE_GIB} GiB",
            remedy="free disk space, or set MIGQUAL_CACHE to a folder on another disk",
        )
