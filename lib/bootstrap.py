"""Prepare the machine for `make`: install missing packages, check the kernel, create `.venv`.

The module needs only the Python of the system and the standard library. After a failure the
program prints a line with the problem and the remedy, and the exit code is 2. On a prepared
machine a run takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from machine_features import (
    OWN_HOSTS_REMEDY,
    BootstrapError,
    check_kernel,
    check_rights,
    find_existing_parent,
    get_cache_folder,
)

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP_FILE = VENV / "migqual.stamp"
VENV_INPUT_FILES = (ROOT / "pyproject.toml", ROOT / "lib" / "constraints.txt")
MIN_PYTHON = (3, 11)
VENV_GIB = 0.6
LAB_GIB = 4.0
# Cross compiler and C library by architecture of the guests.
CROSS_PACKAGES = {
    "aarch64": ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
    "x86_64": ("gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"),
}


@dataclass(frozen=True)
class Package:
    """A package of the distribution that migqual uses.

    Attributes:
        reason: What migqual does with the package; printed before the installation.
        apt: Name of the package for apt; empty if no such package exists.
        dnf: Name of the package for dnf; empty if no such package exists.
        lab: Whether only a lab needs the package.
        needed: False if the machine works without the package.
    """

    reason: str
    apt: str
    dnf: str
    lab: bool = False
    needed: bool = True


def list_packages(*, lab: bool, guest: str = "") -> list[Package]:
    """List the packages that migqual needs on the machine, installed or not.

    Args:
        lab: Whether a lab is built.
        guest: Architecture of the guests; empty for the architecture of the machine.
    """
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    venv = importlib.util.find_spec("ensurepip") is not None
    table = [
        Package("makes .venv", "python3-venv", "python3-pip", needed=not venv),
        Package("builds the libvirt binding", "python3-dev", "python3-devel", needed=not headers),
        Package("builds the libvirt binding", "libvirt-dev", "libvirt-devel"),
        Package("finds the libvirt headers", "pkg-config", "pkgconf-pkg-config"),
        Package("compiles the libvirt binding and the program for guests", "gcc", "gcc"),
        Package("links the program for guests statically", "libc6-dev", "glibc-static"),
        Package("logs in to hosts", "openssh-client", "openssh-clients"),
        Package("provides virsh, for comparison with migqual", "libvirt-clients", "libvirt-client"),
        Package("builds the guest image and the root file systems of the lab", "mmdebstrap", ""),
        Package("verifies the Debian packages of root file systems", "debian-archive-keyring", ""),
        Package("boots the lab's hosts", "systemd-container", "", lab=True),
        Package("makes the lab's networks", "iproute2", "", lab=True),
        Package(
            "shows in a test that a lab does not change the firewall", "nftables", "", lab=True
        ),
        Package("unpacks the guest image in a selftest", "cpio", "cpio", lab=True),
        Package("loads kernel modules for the lab", "kmod", "", lab=True),
        Package("mounts the root file systems of the lab", "mount", "", lab=True),
    ]
    if guest not in {"", platform.machine()}:
        name, libc = CROSS_PACKAGES[guest]
        reason = f"for {guest} guests"
        table += [
            Package(f"compiles the program {reason}", name, ""),
            Package(f"links the program {reason}", libc, ""),
        ]
    return [package for package in table if package.needed and (lab or not package.lab)]


@dataclass(frozen=True)
class Manager:
    """A package manager, apt or dnf, with the command lines to query and install packages."""

    program: str
    family: str
    query: tuple[str, ...]
    refresh: tuple[str, ...]
    install: tuple[str, ...]

    def get_name(self, package: Package) -> str:
        """Return the name of the package for this package manager; empty if none exists."""
        return package.apt if self.family == "apt" else package.dnf

    def is_installed(self, name: str) -> bool:
        """Return whether the package `name` is installed on the machine."""
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
    parser.add_argument("--guest", default="", help="architecture of the guests of a lab")
    arguments = parser.parse_args()
    lab = not arguments.no_lab
    try:
        check_start(lab=lab, guest=arguments.guest)
        manager = find_manager(lab=lab)
        check_space(lab=lab)
        if lab:
            check_rights()
        install_packages(manager, list_packages(lab=lab, guest=arguments.guest))
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


def check_start(*, lab: bool, guest: str = "") -> None:
    """Check the version of Python and the architecture of guests, and that a lab has root."""
    if sys.version_info < MIN_PYTHON:
        min_version = ".".join(map(str, MIN_PYTHON))
        version = ".".join(map(str, sys.version_info[:2]))
        raise BootstrapError(
            f"Python {min_version} or newer is needed, but {sys.executable} is Python {version}",
            "install a newer Python, and give its path: make PYTHON=/path/to/python3 ...",
        )
    if guest and guest not in CROSS_PACKAGES:
        raise BootstrapError(
            f"migqual has no guests for the architecture {guest}",
            f"choose GUEST from: {', '.join(CROSS_PACKAGES)}",
        )
    if lab and os.geteuid() != 0:
        raise BootstrapError("a lab can only be built by root", "use sudo make")


def find_manager(*, lab: bool) -> Manager:
    """Find the package manager of the machine.

    Raises:
        BootstrapError: The machine has neither apt-get nor dnf, or a lab is requested on a
            machine without apt-get.
    """
    if shutil.which(APT.program):
        return APT
    if shutil.which(DNF.program) is None:
        raise BootstrapError(
            "the machine has neither apt-get nor dnf", "use Debian, Ubuntu or openEuler"
        )
    if lab:
        raise BootstrapError(
            "a lab needs mmdebstrap, which needs Debian or Ubuntu", OWN_HOSTS_REMEDY
        )
    return DNF


def check_space(*, lab: bool) -> None:
    """Check the free disk space for `.venv`, and for the lab if a lab is requested."""
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


def install_packages(manager: Manager, packages: list[Package]) -> None:
    """Print each missing package with the reason, then install the packages."""
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


def prepare_venv() -> None:
    """Create `.venv` with the Python packages in pyproject.toml, if `.venv` is missing or old."""
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
            "read the output of the command above",
        )
    STAMP_FILE.unlink(missing_ok=True)
    print("migqual: installing the Python packages of pyproject.toml into .venv", flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_command(
        [*pip, "--constraint", str(VENV_INPUT_FILES[1]), "--editable", ".[dev]"],
        "pip failed",
        "read the output above; `.venv/bin/pip config list` shows the package index",
    )
    STAMP_FILE.write_text(digest)


def run_command(argv: list[str] | tuple[str, ...], problem: str, remedy: str) -> None:
    """Run a command in the checkout. After a failure print the last 15 lines of the output.

    Raises:
        BootstrapError: The exit status is not 0.
    """
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
