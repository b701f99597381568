"""Start a lab host as a program of its own: `python -S -I host_launcher.py CONFIG`.

The program joins the control groups of the host, mounts the root folder in a new mount namespace,
and executes systemd-nspawn. The mounts disappear when all processes of the host have ended. The
module imports few modules, because each import delays the boot of every host.
"""

import ctypes
import json
import os
import subprocess
import sys

CLONE_NEWNS = 0x00020000


def main(config_file: str) -> None:
    """Replace the current process with systemd-nspawn, which boots the host.

    Args:
        config_file: JSON file from `boot_host`, with control groups, rootfs, folders, command
            line and environment.

    Raises:
        OSError: A control group or the mount namespace cannot be created.
        CalledProcessError: A mount failed.
    """
    with open(config_file, encoding="utf-8") as stream:  # noqa: PTH123 - pathlib costs start-up time
        config = json.load(stream)
    for folder in config["cgroups"]:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as procs:  # noqa: PTH123
            procs.write("0")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot create a mount namespace with unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    overlay_options = (
        f"lowerdir={config['rootfs']},upperdir={config['upper']},workdir={config['work']}"
    )
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", overlay_options, config["merged"]], check=True
    )
    os.execvpe(config["argv"][0], config["argv"], os.environ | config["environment"])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])
