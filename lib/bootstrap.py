"""What `make` does first: install what is missing, check what the lab needs, prepare `.venv`.

Runs on the system's Python with nothing but its standard library. Where it cannot go on it says in
one line what to do, and ends with status 2. Running it again costs a fraction of a second.
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
STAMP = VENV / "migqual.stamp"
INPUTS = (ROOT / "pyproject.toml", ROOT / "lib" / "constraints.txt")
FLOOR = (3, 11)
VENV_GIB = 0.6
LAB_GIB = 4.0
ELSEWHERE = "name hosts of your own instead: make qualify INVENTORY=file"
PRIVILEGES = "run on a machine or in a privileged container (docker run --privileged), or " + (
    ELSEWHERE
)
CGROUPS = ("", "unified", "systemd")


class CannotGoOn(Exception):  # noqa: N818 - it is not always an error
    """What is in the way, and what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")


@dataclass(frozen=True)
class Package:
    """Something to install. An empty name: this family of distributions has no such package."""

    why: str
    apt: str
    dnf: str
    lab: bool = False
    wanted: bool = True


def packages(*, lab: bool) -> list[Package]:
    """What this machine needs, whether it is there or not."""
    headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    venv = importlib.util.find_spec("ensurepip") is not None
    table = [
        Package("makes .venv", "python3-venv", "python3-pip", wanted=not venv),
        Package("builds the libvirt binding", "python3-dev", "python3-devel", wanted=not headers),
        Package("builds the libvirt binding", "libvirt-dev", "libvirt-devel"),
        Package("finds the libvirt headers", "pkg-config", "pkgconf-pkg-config"),
        Package("compiles the binding and the guests' program", "gcc", "gcc"),
        Package("links the guests' program statically", "libc6-dev", "glibc-static"),
        Package("logs in at hosts", "openssh-client", "openssh-clients"),
        Package("virsh: what migqual is compared with", "libvirt-clients", "libvirt-client"),
        Package("builds the guest image and the lab's root trees", "mmdebstrap", ""),
        Package("checks the packages of those trees", "debian-archive-keyring", ""),
        Package("boots the lab's hosts", "systemd-container", "", lab=True),
        Package("makes the lab's networks", "iproute2", "", lab=True),
        Package("shows that the machine's firewall stays as it was", "nftables", "", lab=True),
        Package("unpacks the guest image in a selftest", "cpio", "cpio", lab=True),
        Package("loads kernel modules for the lab", "kmod", "", lab=True),
        Package("mounts the lab's root trees", "mount", "", lab=True),
    ]
    return [package for package in table if package.wanted and (lab or not package.lab)]


@dataclass(frozen=True)
class Manager:
    """A package manager."""

    program: str
    family: str
    query: tuple[str, ...]
    refresh: tuple[str, ...]
    install: tuple[str, ...]

    def name(self, package: Package) -> str:
        return package.apt if self.family == "apt" else package.dnf

    def installed(self, name: str) -> bool:
        done = subprocess.run([*self.query, name], capture_output=True, text=True, check=False)
        return done.returncode == 0 and not done.stdout.endswith(("not-installed", "config-files"))


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
    parser = argparse.ArgumentParser(description="install what migqual needs on this machine")
    parser.add_argument("--no-lab", action="store_true", help="the hosts are the user's own")
    lab = not parser.parse_args().no_lab
    try:
        check_start(lab=lab)
        manager = find_manager(lab=lab)
        check_space(lab=lab)
        if lab:
            check_rights()
        install(manager, packages(lab=lab))
        if lab:
            check_kernel()
        prepare_venv()
    except CannotGoOn as reason:
        print(f"migqual: {reason}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"migqual: {error}: use sudo make, or check out elsewhere", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def check_start(*, lab: bool) -> None:
    """Who runs this, and on what."""
    if sys.version_info < FLOOR:
        floor = ".".join(map(str, FLOOR))
        found = ".".join(map(str, sys.version_info[:2]))
        raise CannotGoOn(
            f"Python {floor} or newer is needed, {sys.executable} is {found}",
            "install a newer one and name it: make PYTHON=/path/to/python3 ...",
        )
    if lab and os.geteuid() != 0:
        raise CannotGoOn("a lab can only be built by root", "use sudo make")


def find_manager(*, lab: bool) -> Manager:
    if shutil.which(APT.program):
        return APT
    if shutil.which(DNF.program) is None:
        raise CannotGoOn("neither apt-get nor dnf is here", "use Debian, Ubuntu or openEuler")
    if lab:
        raise CannotGoOn("the lab is built by mmdebstrap, which needs Debian or Ubuntu", ELSEWHERE)
    return DNF


def check_space(*, lab: bool) -> None:
    """Raise when a disk lacks room for what is not there yet."""
    needs = [(ROOT, 0.0 if STAMP.exists() else VENV_GIB, "check out on a larger disk")]
    if lab:
        needs.append((cache(), LAB_GIB, "free some, or set MIGQUAL_CACHE to a folder elsewhere"))
    for folder, gib, remedy in needs:
        disk = nearest(folder)
        free = shutil.disk_usage(disk).free / 2**30
        if free < gib:
            raise CannotGoOn(f"{disk}: {free:.1f} GiB free, {gib:.1f} GiB needed", remedy)


def cache() -> Path:
    """Root trees, and what the hosts of a lab write."""
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


def install(manager: Manager, wanted: list[Package]) -> None:
    """Install what is missing, after saying what and why."""
    missing = [p for p in wanted if manager.name(p) and not manager.installed(manager.name(p))]
    if not missing:
        return
    if os.geteuid() != 0:
        listed = " ".join(manager.name(package) for package in missing)
        raise CannotGoOn("root is needed to install packages", f"use sudo make; missing: {listed}")
    print(f"migqual: {manager.program} is about to install:", flush=True)
    width = max(len(manager.name(package)) for package in missing)
    for package in missing:
        print(f"  {manager.name(package):<{width}}  {package.why}", flush=True)
    remedy = f"see what {manager.program} says above; check its sources and the disk"
    if manager.refresh:
        run(manager.refresh, f"{' '.join(manager.refresh)} failed", remedy)
    names = [manager.name(package) for package in missing]
    run([*manager.install, *names], f"{manager.program} install failed", remedy)
    if shutil.which("mmdebstrap") is None:
        print(
            "migqual: no mmdebstrap here: copy /var/cache/migqual/guest from a Debian machine, or "
            "use guest images of your own",
            flush=True,
        )


def check_rights() -> None:
    """Try for real what an unprivileged container forbids, before anything is installed."""
    for option, kind in (("--mount", "mount"), ("--net", "network"), ("--pid", "process")):
        argv = ["unshare", option, "--fork", "true"]
        try_out(argv, f"{kind} namespaces are not allowed here", PRIVILEGES)
    roots = [Path("/sys/fs/cgroup", name) for name in CGROUPS]
    if not any(os.access(root / "cgroup.procs", os.W_OK) for root in roots):
        raise CannotGoOn("/sys/fs/cgroup is not writable", PRIVILEGES)


def check_kernel() -> None:
    """Try for real, in throw-away namespaces, what the lab asks of the kernel."""
    private = ("unshare", "--mount", "--propagation", "private")
    netns = "mount -t tmpfs tmpfs /run && ip netns add probe"
    try_out([*private, "sh", "-c", netns], "`ip netns add` does not work here", PRIVILEGES)
    link = ("unshare", "--net", "ip", "link", "add", "probe0", "type")
    for kind in ("bridge", "veth"):
        try_out([*link, kind], f"this kernel makes no {kind} links", f"modprobe {kind}")
    tap = ["unshare", "--net", "ip", "tuntap", "add", "probe0", "mode", "tap"]
    try_out(tap, "no /dev/net/tun", "modprobe tun; in a container pass --device=/dev/net/tun")
    check_overlay(private)


def check_overlay(private: tuple[str, ...]) -> None:
    """Mount one where the lab will: not every file system can carry an overlay."""
    disk = nearest(cache())
    problem = f"no overlay can be mounted over {disk}"
    remedy = "modprobe overlay; in a container set MIGQUAL_CACHE to a folder of a real disk"
    try:
        with tempfile.TemporaryDirectory(prefix=".migqual-probe-", dir=disk) as folder:
            for name in ("lower", "upper", "work", "root"):
                Path(folder, name).mkdir()
            options = ",".join(f"{name}dir={folder}/{name}" for name in ("lower", "upper", "work"))
            mount = ("mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/root")
            try_out([*private, *mount], problem, remedy)
    except OSError as error:
        raise CannotGoOn(f"{problem} ({error.strerror})", remedy) from error


def try_out(argv: list[str], problem: str, remedy: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise CannotGoOn(f"{problem} ({said})", remedy)


def prepare_venv() -> None:
    """`.venv` with everything that pyproject.toml names, at the versions of constraints.txt."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in INPUTS)).hexdigest()
    python = VENV / "bin" / "python"
    works = python.exists() and not subprocess.run([str(python), "-c", ""], check=False).returncode
    if works and STAMP.exists() and STAMP.read_text() == digest:
        return
    if not works:
        print("migqual: making .venv", flush=True)
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(VENV)], "no .venv", "see above")
    STAMP.unlink(missing_ok=True)
    print(
        "migqual: installing Python packages into .venv, as pyproject.toml names them", flush=True
    )
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(
        [*pip, "--constraint", str(INPUTS[1]), "--editable", ".[dev]"],
        "pip failed",
        "see what it says above; `.venv/bin/pip config list` shows which index it asks",
    )
    STAMP.write_text(digest)


def run(argv: list[str] | tuple[str, ...], problem: str, remedy: str) -> None:
    """Run a command; its output is shown only where it failed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print("\n".join(done.stdout.strip().splitlines()[-15:]), file=sys.stderr)
        raise CannotGoOn(problem, remedy)


if __name__ == "__main__":
    sys.exit(main())
