"""Become one host of a lab: join its cgroup, mount its root, execute systemd-nspawn.

Run as a process of its own (`python -m migqual.lab.launch FILE`), so that the mount lives in a
mount namespace that dies with the host: a killed lab leaves no mount behind. Imports nothing of
ours and little of the standard library, since every host of a lab waits for it.
"""

import ctypes
import json
import os
import subprocess
import sys

CLONE_NEWNS = 0x00020000


def main(file: str) -> None:
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 - pathlib costs start-up time
        host = json.load(stream)
    for folder in host["cgroups"]:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        with open(f"{folder}/cgroup.procs", "w", encoding="ascii") as procs:  # noqa: PTH123
            procs.write("0")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare of the mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    options = f"lowerdir={host['tree']},upperdir={host['upper']},workdir={host['work']}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, host["merged"]], check=True)
    os.execvpe(host["argv"][0], host["argv"], os.environ | host["environment"])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1])
