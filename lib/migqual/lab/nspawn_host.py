"""Boot and kill a lab host with systemd-nspawn."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from migqual import paths
from migqual.deadline import Deadline
from migqual.errors import LabError, TimedOut
from migqual.image.isolated_command import format_last_lines
from migqual.inventory.entities import SAVED_STATES_FOLDER
from migqual.lab import cgroup, host_launcher
from migqual.lab.layout import (
    EXPORTS_FOLDER,
    SCRATCH_FOLDER,
    SHARED_FOLDER,
    SHARED_FOLDER_BACKING,
    HostLayout,
    LabLayout,
)
from migqual.lab.topology import BindMount, LabRole

LOOP_DEVICES = tuple(f"/dev/loop{number}" for number in range(8))
HYPERVISOR_DEVICES = ("/dev/net/tun", "/dev/fuse", "/dev/loop-control", *LOOP_DEVICES)
KVM_DEVICE = Path("/dev/kvm")
# `boot_host` writes the launch configuration of a host to this file in the folder of the host.
LAUNCH_FILE = "launch.json"
_CONTROL_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")
NSPAWN_STATE_FOLDER = Path("/run/systemd/nspawn")


def boot_host(layout: LabLayout, host: HostLayout, rootfs: Path) -> subprocess.Popen[bytes]:
    """Start a lab host and return at once. `wait_for_boot` waits for the end of the boot.

    Args:
        layout: Layout of the lab.
        host: The host to start.
        rootfs: Root file system that becomes the overlayfs lower layer. The host cannot change
            this layer.

    Returns:
        The process of systemd-nspawn, in a new session and process group.
    """
    for folder in (host.upper, host.folder / "work", host.merged):
        folder.mkdir(parents=True, exist_ok=True)
    config_file = host.folder / LAUNCH_FILE
    config_file.write_text(json.dumps(_build_launch_config(layout, host, rootfs)))
    with host.console_log.open("ab") as console:
        return subprocess.Popen(
            [sys.executable, "-S", "-I", host_launcher.__file__, str(config_file)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def bind_notify_socket(host: HostLayout) -> socket.socket:
    """Bind the socket to which systemd in the host sends READY=1.

    Call the function before `boot_host`.
    """
    path = host.folder / "notify"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    return listener


def wait_for_boot(
    host: HostLayout,
    listener: socket.socket,
    process: subprocess.Popen[bytes],
    deadline: Deadline,
) -> None:
    """Wait until systemd in the host reports a complete boot.

    Args:
        host: The booting host.
        listener: Socket from `bind_notify_socket`.
        process: Process from `boot_host`.
        deadline: Time limit for the boot.

    Raises:
        LabError: The host ended, or did not boot before the deadline. The message contains the
            last lines of the console. A copy of the console log stays in the cache folder.
    """

    def is_ready() -> bool:
        if process.poll() is not None:
            raise LabError(
                f"host {host.name} ended while booting\n{_format_last_console_lines(host)}",
                remedy=f"read the console log {_keep_console_log(host)}; the machine must allow "
                "mounts, namespaces and cgroups: run as root, not in an unprivileged container",
            )
        listener.settimeout(max(0.01, min(0.2, deadline.seconds_left)))
        with suppress(TimeoutError):
            return b"READY=1" in listener.recv(4096)
        return False

    try:
        deadline.wait_for(f"boot of host {host.name}", is_ready, interval_s=0)
    except TimedOut as error:
        raise LabError(
            f"{error.message}\n{_format_last_console_lines(host)}",
            remedy=f"read the console log {_keep_console_log(host)}",
        ) from error


def create_kvm_device(layout: LabLayout) -> None:
    """Create a copy of the machine's /dev/kvm that every user of a lab host can open.

    On real hosts, udev gives /dev/kvm these permissions. The group of the machine's device has
    another number than the group `kvm` of a lab host. So QEMU's user cannot open the machine's
    device, and libvirt then probes QEMU anew at every use.

    If the machine has no /dev/kvm, or the file system of the lab permits no device files, the
    function does nothing.
    """
    permits_devices = not os.statvfs(layout.disk_folder).f_flag & os.ST_NODEV
    if not (KVM_DEVICE.exists() and permits_devices):
        return
    layout.kvm_device.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(layout.kvm_device, stat.S_IFCHR, KVM_DEVICE.stat().st_rdev)
    layout.kvm_device.chmod(0o666)


def kill_lab_host(host: HostLayout, deadline: Deadline) -> None:
    """Kill a lab host at once, as in a power failure, and remove the host's folders in `/run`.

    Raises:
        TimedOut: Processes of the host are left at the deadline.
    """
    cgroup.kill_group(host.cgroup_name, deadline)
    _remove_nspawn_folders(host.machine_name)


def clear_nspawn_state(lab_name: str) -> None:
    """Remove the folders that systemd-nspawn left in `/run` for killed hosts of the lab.

    If a parent folder, for example `/run/systemd`, is then empty, the function also removes this
    folder.
    """
    _remove_nspawn_folders(f"mq-{lab_name}-*")
    for folder in (*NSPAWN_STATE_FOLDER.glob("*"), NSPAWN_STATE_FOLDER, NSPAWN_STATE_FOLDER.parent):
        with suppress(OSError):
            folder.rmdir()


def _remove_nspawn_folders(pattern: str) -> None:
    """Remove the empty folders `/run/systemd/nspawn/*/MACHINE`; MACHINE must match `pattern`.

    MACHINE is the machine name of a lab host. The parent folder of MACHINE depends on the release
    of systemd-nspawn.
    """
    for folder in NSPAWN_STATE_FOLDER.glob(f"*/{pattern}"):
        with suppress(OSError):
            folder.rmdir()


def kill_process_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole process group that `process` leads, and wait for the end of `process`."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _format_last_console_lines(host: HostLayout) -> str:
    """Format the last lines of the host's console log, without terminal control sequences."""
    output = host.console_log.read_bytes() if host.console_log.exists() else b""
    return format_last_lines(_CONTROL_SEQUENCE.sub(b"", output)) or "    no console output"


def _keep_console_log(host: HostLayout) -> Path:
    """Copy the host's console log to the cache folder, and return the path of the copy."""
    folder = paths.get_cache_folder() / "consoles"
    folder.mkdir(parents=True, exist_ok=True)
    kept_log = folder / f"{host.lab_name}-{host.name}.log"
    shutil.copyfile(host.console_log, kept_log)
    return kept_log


def _build_launch_config(layout: LabLayout, host: HostLayout, rootfs: Path) -> dict[str, object]:
    return {
        "cgroups": [str(folder) for folder in cgroup.list_group_folders(host.cgroup_name)],
        "rootfs": str(rootfs),
        "upper": str(host.upper),
        "work": str(host.folder / "work"),
        "merged": str(host.merged),
        "argv": build_nspawn_command(layout, host),
        "environment": {
            "NOTIFY_SOCKET": str(host.folder / "notify"),
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            "SYSTEMD_NSPAWN_LOCK": "0",
            # systemd from release 258 on does not boot in the hierarchies of cgroup version 1
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        },
    }


def build_nspawn_command(layout: LabLayout, host: HostLayout) -> list[str]:
    """Build the command line of systemd-nspawn that boots the host."""
    argv = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={host.merged}",
        f"--machine={host.machine_name}",
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
    for bind_mount in _list_bind_mounts(layout, host):
        option = "--bind-ro" if bind_mount.read_only else "--bind"
        argv.insert(-1, f"{option}={bind_mount.source}:{bind_mount.target or bind_mount.source}")
    return argv


def get_saved_states_folder() -> Path:
    """Return the folder on the machine for saved states of guests. All labs share the folder."""
    return paths.get_cache_folder() / SAVED_STATES_FOLDER


def _list_bind_mounts(layout: LabLayout, host: HostLayout) -> list[BindMount]:
    bind_mounts = list(host.spec.binds)
    if host.spec.role is LabRole.HYPERVISOR:
        bind_mounts += [
            BindMount(source=Path(device)) for device in HYPERVISOR_DEVICES if Path(device).exists()
        ]
        if host.spec.qemu_prefix is not None:
            bind_mounts.append(BindMount(source=host.spec.qemu_prefix, read_only=True))
        for device in (layout.kvm_device, KVM_DEVICE):
            if device.exists():
                bind_mounts.append(BindMount(source=device, target=KVM_DEVICE))
                break
        has_own_type = host.spec.quirks.shared_folder_type is not None
        target = SHARED_FOLDER_BACKING if has_own_type else SHARED_FOLDER
        bind_mounts.append(BindMount(source=layout.shared_folder, target=target))
        bind_mounts.append(
            BindMount(source=get_saved_states_folder(), target=SCRATCH_FOLDER / SAVED_STATES_FOLDER)
        )
    if host.spec.role is LabRole.STORAGE:
        bind_mounts.append(BindMount(source=layout.exports_folder, target=EXPORTS_FOLDER))
    return bind_mounts
