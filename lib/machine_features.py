"""Check that the machine can run a lab: rights, namespaces, links and overlays.

The module needs only the Python of the system and the standard library: `bootstrap` uses the module
before `.venv` exists.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

OWN_HOSTS_REMEDY = "name hosts of your own in an inventory: make qualify INVENTORY=file"
PRIVILEGES_REMEDY = (
    "run outside of containers or in a privileged container (docker run --privileged), or "
    + OWN_HOSTS_REMEDY
)
CGROUP_HIERARCHIES = ("", "unified", "systemd")


class BootstrapError(Exception):
    """A problem that prevents the preparation of the machine, with a remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")


def get_cache_folder() -> Path:
    """Return the cache folder, for root file systems and for the data of lab hosts."""
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def find_existing_parent(folder: Path) -> Path:
    """Return `folder`, or the nearest existing parent if `folder` does not exist."""
    while not folder.exists():
        folder = folder.parent
    return folder


def check_rights() -> None:
    """Check that the user may create namespaces and control groups, by a test of each."""
    for option, kind in (("--mount", "mount"), ("--net", "network"), ("--pid", "process")):
        argv = ["unshare", option, "--fork", "true"]
        check_command(argv, f"{kind} namespaces are not allowed on this machine", PRIVILEGES_REMEDY)
    hierarchies = [Path("/sys/fs/cgroup", name) for name in CGROUP_HIERARCHIES]
    if not any(os.access(folder / "cgroup.procs", os.W_OK) for folder in hierarchies):
        raise BootstrapError("/sys/fs/cgroup is not writable", PRIVILEGES_REMEDY)


def check_kernel() -> None:
    """Check that the kernel can create networks and overlays, with tests in private namespaces."""
    private = ("unshare", "--mount", "--propagation", "private")
    netns = "mount -t tmpfs tmpfs /run && ip netns add probe"
    check_command(
        [*private, "sh", "-c", netns],
        "`ip netns add` does not work on this machine",
        PRIVILEGES_REMEDY,
    )
    link = ("unshare", "--net", "ip", "link", "add", "probe0", "type")
    for kind in ("bridge", "veth"):
        check_command(
            [*link, kind], f"the kernel cannot create {kind} links", f"run modprobe {kind}"
        )
    tap = ["unshare", "--net", "ip", "tuntap", "add", "probe0", "mode", "tap"]
    check_command(
        tap,
        "the kernel cannot create a tap device with /dev/net/tun",
        "run modprobe tun; start a container with --device=/dev/net/tun",
    )
    check_overlay(private)


def check_overlay(private: tuple[str, ...]) -> None:
    """Check that overlayfs can be mounted over the cache folder, since some file systems refuse."""
    disk = find_existing_parent(get_cache_folder())
    problem = f"an overlay cannot be mounted over {disk}"
    remedy = "run modprobe overlay; in a container set MIGQUAL_CACHE to a folder on a volume"
    try:
        with tempfile.TemporaryDirectory(prefix=".migqual-probe-", dir=disk) as folder:
            for name in ("lower", "upper", "work", "root"):
                Path(folder, name).mkdir()
            options = ",".join(f"{name}dir={folder}/{name}" for name in ("lower", "upper", "work"))
            mount = ("mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/root")
            check_command([*private, *mount], problem, remedy)
    except OSError as error:
        raise BootstrapError(f"{problem} ({error.strerror})", remedy) from error


def check_command(argv: list[str], problem: str, remedy: str) -> None:
    """Run a command that tests the machine.

    Raises:
        BootstrapError: The exit status is not 0. The message contains `problem` and the first line
            of standard error.
    """
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode:
        message = (result.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BootstrapError(f"{problem} ({message})", remedy)
