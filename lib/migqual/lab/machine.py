"""Boot and end one host."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from migqual import places
from migqual.deadline import Deadline
from migqual.errors import LabError, TimedOut
from migqual.lab import cgroup, launch
from migqual.lab.layout import EXPORTS, SCRATCH, SHARED, HostLayout, LabLayout
from migqual.lab.topology import Bind, Role
from migqual.model.inventory import STATES

LOOPS = tuple(f"/dev/loop{number}" for number in range(8))
DEVICES = ("/dev/net/tun", "/dev/kvm", "/dev/fuse", "/dev/loop-control", *LOOPS)
NSPAWN_STATE = Path("/run/systemd/nspawn")


def boot(layout: LabLayout, host: HostLayout, tree: Path) -> subprocess.Popen[bytes]:
    """Start the host; `wait_ready` says when it is up."""
    for folder in (host.upper, host.folder / "work", host.merged):
        folder.mkdir(parents=True, exist_ok=True)
    order = host.folder / "launch.json"
    order.write_text(json.dumps(_order(layout, host, tree)))
    with host.console.open("ab") as console:
        return subprocess.Popen(
            [sys.executable, "-S", "-I", launch.__file__, str(order)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def readiness(host: HostLayout) -> socket.socket:
    """The socket at which the host's systemd will report READY. Bind before `boot`."""
    path = host.folder / "notify"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    return listener


def wait_ready(
    host: HostLayout,
    listener: socket.socket,
    process: subprocess.Popen[bytes],
    deadline: Deadline,
) -> None:
    """Until systemd in the host says that its boot is complete.

    Raises `LabError` with the end of the host's console when it ends or does not come up.
    """

    def ready() -> bool:
        if process.poll() is not None:
            raise LabError(
                f"host {host.name} ended while booting: {_last_words(host)}",
                remedy="the machine must allow mounts, namespaces and cgroups: run as root, "
                "not in an unprivileged container",
            )
        listener.settimeout(max(0.01, min(0.2, deadline.left)))
        with suppress(TimeoutError):
            return b"READY=1" in listener.recv(4096)
        return False

    try:
        deadline.wait_for(f"host {host.name} to boot", ready, interval=0)
    except TimedOut as error:
        raise LabError(f"{error.message}: {_last_words(host)}", remedy=str(host.console)) from error


def kill(host: HostLayout, deadline: Deadline) -> None:
    """End the host at once, as a power cut does, and clear what systemd-nspawn leaves."""
    cgroup.kill(host.cgroup, deadline)
    _clear_nspawn(host.machine)


def clear_nspawn(lab: str) -> None:
    """Remove what systemd-nspawn leaves of killed hosts, and its own folders when empty."""
    _clear_nspawn(f"mq-{lab}-*")
    for folder in (*NSPAWN_STATE.glob("*"), NSPAWN_STATE, NSPAWN_STATE.parent):
        with suppress(OSError):
            folder.rmdir()


def _clear_nspawn(pattern: str) -> None:
    """Its releases differ in the folders that they make for a machine; all are named after it."""
    for folder in NSPAWN_STATE.glob(f"*/{pattern}"):
        with suppress(OSError):
            folder.rmdir()


def reap(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(host: HostLayout) -> str:
    with suppress(OSError):
        lines = host.console.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-4:])
    return "no console output"


def _order(layout: LabLayout, host: HostLayout, tree: Path) -> dict[str, object]:
    return {
        "cgroups": [str(folder) for folder in cgroup.folders(host.cgroup)],
        "tree": str(tree),
        "upper": str(host.upper),
        "work": str(host.folder / "work"),
        "merged": str(host.merged),
        "argv": nspawn(layout, host),
        "environment": {
            "NOTIFY_SOCKET": str(host.folder / "notify"),
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            "SYSTEMD_NSPAWN_LOCK": "0",
        },
    }


def nspawn(layout: LabLayout, host: HostLayout) -> list[str]:
    """The command that boots a host."""
    argv = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={host.merged}",
        f"--machine={host.machine}",
        f"--hostname={host.name}",
        f"--uuid={host.uuid}",
        f"--network-namespace-path=/run/netns/{host.namespace}",
        "--register=no",
        "--keep-unit",
        "--notify-ready=yes",
        "--capability=all",
        "--settings=no",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        "--kill-signal=SIGRTMIN+3",
        "--boot",
    ]
    for bind in _binds(layout, host):
        option = "--bind-ro" if bind.read_only else "--bind"
        argv.insert(-1, f"{option}={bind.source}:{bind.target or bind.source}")
    return argv


def saved_states() -> Path:
    """Where the hosts of all labs keep saved states of guests."""
    return places.cache() / STATES


def _binds(layout: LabLayout, host: HostLayout) -> list[Bind]:
    binds = list(host.spec.binds)
    if host.spec.role is Role.HYPERVISOR:
        binds += [Bind(source=Path(node)) for node in DEVICES if Path(node).exists()]
        binds.append(Bind(source=layout.shared, target=SHARED))
        binds.append(Bind(source=saved_states(), target=SCRATCH / STATES))
    if host.spec.role is Role.STORAGE:
        binds.append(Bind(source=layout.exports, target=EXPORTS))
    return binds
