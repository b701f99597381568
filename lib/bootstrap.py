"""Prepare the machine for `make`: install missing packages, check the kernel, create `.venv`.

The module runs on the system's Python with the standard library alone. A failure prints one line
with the remedy and ends with status 2. A repeated run takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP_FILE = VENV / "migqual.stamp"
VENV_INPUT_FILES = (ROOT / "pyproject.toml", ROOT / "lib" / "constraints.txt")
MIN_PYTHON = (3, 11)
VENV_GIB = 0.6
LAB_GIB = 4.0
OWN_HOSTS_REMEDY = "name hosts of your own instead: make qualify INVENTORY=file"
PRIVILEGES_REMEDY = (
    "run on a machine or in a privileged container (docker run --privileged), or "
    + (OWN_HOSTS_REMEDY)
)
CGROUP_HIERARCHIES = ("", "unified", "systemd")


class BootstrapError(Exception):
    """A problem of the machine, with a remedy."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")


@dataclass(frozen=True)
class Package:
    """A package to install.

    An empty name means: the family of distributions has no such package.
    """

    reason: str
    apt: str
    dnf: str
    lab: bool = False
    needed: bool = True


def list_packages(*, lab: bool) -> list[Package]:
    """List the packages that the machine needs, installed or not."""
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    venv = importlib.util.find_spec("ensurepip") is not None
    table = [
        Package("makes .venv", "python3-venv", "python3-pip", needed=not venv),
        Package("builds the libvirt binding", "python3-dev", "python3-devel", needed=not headers),
        Package("builds the libvirt binding", "libvirt-dev", "libvirt-devel"),
        Package("finds the libvirt headers", "pkg-config", "pkgconf-pkg-config"),
        Package("compiles the binding and the guests' program", "gcc", "gcc"),
        Package("links the guests' program statically", "libc6-dev", "glibc-static"),
        Package("logs in at hosts", "openssh-client", "openssh-clients"),
        Package("virsh, for comparison with migqual", "libvirt-clients", "libvirt-client"),
        Package("builds the guest image and the root file systems of the lab", "mmdebstrap", ""),
        Package("checks the packages of these file systems", "debian-archive-keyring", ""),
        Package("boots the lab's hosts", "systemd-container", "", lab=True),
        Package("makes the lab's networks", "iproute2", "", lab=True),
        Package("shows that the firewall of the machine does not change", "nftables", "", lab=True),
        Package("unpacks the guest image in a selftest", "cpio", "cpio", lab=True),
        Package("loads kernel modules for the lab", "kmod", "", lab=True),
        Package("mounts the root file systems of the lab", "mount", "", lab=True),
    ]
    return [package for package in table if package.needed and (lab or not package.lab)]


@dataclass(frozen=True)
class Manager:
    """A package manager."""

    program: str
    family: str
    query: tuple[str, ...]
    refresh: tuple[str, ...]
    install: tuple[str, ...]

    def get_name(self, package: Package) -> str:
        """Return the name of the package for this package manager."""
        return package.apt if self.family == "apt" else package.dnf

    def is_installed(self, name: str) -> bool:
        """Return whether the package is installed."""
        result = subprocess.run([*self.query, name], capture_output=True, text=True, check=False)
        return result.returncode == 0 and not result.stdout.endswith(
            ("not-installed", "config-files")
        )


APT = Manager(
    program="apt-get",
    family="apt",
    query=("dpkg-query", "--show", "--showformat=${db:Status-Status}"),
    refresh=("apt-get", "update", "-q"),
    install=("apt-get", "install", "-y", "-q", "--no-install-recommends"),
)
DNF = Manager(
    program="dnf",
    family="dnf",
    query=("rpm", "--query", "--whatprovides"),
    refresh=(),
    install=("dnf", "install", "-y", "-q", "--setopt=install_weak_deps=False"),
)


def main() -> int:
    """Check the machine, install missing packages and create `.venv`; return the exit code."""
    parser = argparse.ArgumentParser(
        description="install the packages that migqual needs on this machine"
    )
    parser.add_argument(
        "--no-lab", action="store_true", help="use hosts of your own; install nothing for a lab"
    )
    lab = not parser.parse_args().no_lab
    try:
        check_start(lab=lab)
        manager = find_manager(lab=lab)
        check_space(lab=lab)
        if lab:
            check_rights()
        install_packages(manager, list_packages(lab=lab))
        if lab:
            check_kernel()
        prepare_venv()
    except BootstrapError as reason:
        print(f"migqual: {reason}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"migqual: {error}: use sudo make, or clone migqual to another folder", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def check_start(*, lab: bool) -> None:
    """Check the version of Python, and for a lab the rights of root."""
    if sys.version_info < MIN_PYTHON:
        min_version = ".".join(map(str, MIN_PYTHON))
        version = ".".join(map(str, sys.version_info[:2]))
        raise BootstrapError(
            f"Python {min_version} or newer is needed, {sys.executable} is {version}",
            "install a newer Python, and name the program: make PYTHON=/path/to/python3 ...",
        )
    if lab and os.geteuid() != 0:
        raise BootstrapError("a lab can only be built by root", "use sudo make")


def find_manager(*, lab: bool) -> Manager:
    """Find the package manager of the machine.

    Raises:
        BootstrapError: The machine has neither apt-get nor dnf, or a lab needs Debian.
    """
    if shutil.which(APT.program):
        return APT
    if shutil.which(DNF.program) is None:
        raise BootstrapError(
            "the machine has neither apt-get nor dnf", "use Debian, Ubuntu or openEuler"
        )
    if lab:
        raise BootstrapError(
            "the lab is built by mmdebstrap, which needs Debian or Ubuntu", OWN_HOSTS_REMEDY
        )
    return DNF


def check_space(*, lab: bool) -> None:
    """Check the free space for `.venv` and for the lab."""
    needs = [(ROOT, 0.0 if STAMP_FILE.exists() else VENV_GIB, "clone migqual to a larger disk")]
    if lab:
        needs.append(
            (
                get_cache_folder(),
                LAB_GIB,
                "free disk space, or set MIGQUAL_CACHE to a folder on another disk",
            )
        )
    for folder, gib, remedy in needs:
        disk = find_existing_parent(folder)
        free = shutil.disk_usage(disk).free / 2**30
        if free < gib:
            raise BootstrapError(f"{disk}: {free:.1f} GiB free, {gib:.1f} GiB needed", remedy)


def get_cache_folder() -> Path:
    """Return the folder for root file systems and for the data of lab hosts."""
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def find_existing_parent(folder: Path) -> Path:
    """Find the folder, or the nearest existing folder above."""
    while not folder.exists():
        folder = folder.parent
    return folder


def install_packages(manager: Manager, packages: list[Package]) -> None:
    """Install the missing packages, and print each package with the reason first."""
    missing = [
        package
        for package in packages
        if manager.get_name(package) and not manager.is_installed(manager.get_name(package))
    ]
    if not missing:
        return
    if os.geteuid() != 0:
        listed = " ".join(manager.get_name(package) for package in missing)
        raise BootstrapError(
            "root is needed to install packages", f"use sudo make; missing: {listed}"
        )
    print(f"migqual: {manager.program} is about to install:", flush=True)
    width = max(len(manager.get_name(package)) for package in missing)
    for package in missing:
        print(f"  {manager.get_name(package):<{width}}  {package.reason}", flush=True)
    remedy = f"read the output of {manager.program} above; check the package sources and the disk"
    if manager.refresh:
        run_command(manager.refresh, f"{' '.join(manager.refresh)} failed", remedy)
    names = [manager.get_name(package) for package in missing]
    run_command([*manager.install, *names], f"{manager.program} install failed", remedy)
    if shutil.which("mmdebstrap") is None:
        print(
            "migqual: mmdebstrap is missing: copy /var/cache/migqual/guest from a Debian machine, "
            "or use guest images of your own",
            flush=True,
        )


def check_rights() -> None:
    """Check namespaces and control groups by use, before the installation."""
    for option, kind in (("--mount", "mount"), ("--net", "network"), ("--pid", "process")):
        argv = ["unshare", option, "--fork", "true"]
        check_command(argv, f"{kind} namespaces are not allowed on this machine", PRIVILEGES_REMEDY)
    hierarchies = [Path("/sys/fs/cgroup", name) for name in CGROUP_HIERARCHIES]
    if not any(os.access(folder / "cgroup.procs", os.W_OK) for folder in hierarchies):
        raise BootstrapError("/sys/fs/cgroup is not writable", PRIVILEGES_REMEDY)


def check_kernel() -> None:
    """Check the features of the kernel by use, in temporary namespaces."""
    private = ("unshare", "--mount", "--propagation", "private")
    netns = "mount -t tmpfs tmpfs /run && ip netns add probe"
    check_command(
        [*private, "sh", "-c", netns],
        "`ip netns add` does not work on this machine",
        PRIVILEGES_REMEDY,
    )
    link = ("unshare", "--net", "ip", "link", "add", "probe0", "type")
    for kind in ("bridge", "veth"):
        check_command([*link, kind], f"the kernel cannot create {kind} links", f"modprobe {kind}")
    tap = ["unshare", "--net", "ip", "tuntap", "add", "probe0", "mode", "tap"]
    check_command(tap, "no /dev/net/tun", "modprobe tun; in a container pass --device=/dev/net/tun")
    check_overlay(private)


def check_overlay(private: tuple[str, ...]) -> None:
    """Check an overlay mount in the cache folder: not every file system can carry an overlay."""
    disk = find_existing_parent(get_cache_folder())
    problem = f"an overlay cannot be mounted over {disk}"
    remedy = "modprobe overlay; in a container set MIGQUAL_CACHE to a folder of a real disk"
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
    """Run a command that must succeed.

    Raises:
        BootstrapError: The command failed.
    """
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode:
        message = (result.stderr.strip().splitlines() or ["no reason given"])[0]
        raise BootstrapError(f"{problem} ({message})", remedy)


def prepare_venv() -> None:
    """Create `.venv` with the packages of pyproject.toml, at the versions of constraints.txt."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in VENV_INPUT_FILES)).hexdigest()
    python = VENV / "bin" / "python"
    is_working = (
        python.exists() and not subprocess.run([str(python), "-c", ""], check=False).returncode
    )
    if is_working and STAMP_FILE.exists() and STAMP_FILE.read_text() == digest:
        return
    if not is_working:
        print("migqual: creating .venv", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run_command(
            [sys.executable, "-m", "venv", str(VENV)],
            ".venv cannot be created",
            "read the output above",
        )
    STAMP_FILE.unlink(missing_ok=True)
    print(
        "migqual: installing Python packages into .venv, as pyproject.toml names them", flush=True
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_command(
        [*pip, "--constraint", str(VENV_INPUT_FILES[1]), "--editable", ".[dev]"],
        "pip failed",
        "read the output above; `.venv/bin/pip config list` shows the package index",
    )
    STAMP_FILE.write_text(digest)


def run_command(argv: list[str] | tuple[str, ...], problem: str, remedy: str) -> None:
    """Run a command, and print the output only after a failure."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        argv,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        print("\n".join(result.stdout.strip().splitlines()[-15:]), file=sys.stderr)
        raise BootstrapError(problem, remedy)


if __name__ == "__main__":
    sys.exit(main())
