"""Start and remove labs, and remove the leftovers of labs that ended without clean-up."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from migqual import paths
from migqual.deadline import Deadline
from migqual.errors import UsageError
from migqual.image.guest_image import GuestImage, ensure_guest_image
from migqual.inventory.entities import Acceleration
from migqual.lab import (
    acceleration,
    cgroup,
    host_config,
    inventory_export,
    network,
    nspawn_host,
    state,
)
from migqual.lab.host_rootfs import ProgressCallback, ensure_host_rootfs
from migqual.lab.layout import LabLayout, get_disk_folder
from migqual.lab.machine_check import check_machine, check_outside_lab
from migqual.lab.state import LabPhase, LabState
from migqual.lab.topology import Topology

BootingHosts = dict[str, tuple[subprocess.Popen[bytes], socket.socket]]
BOOT_TIMEOUT_SECONDS = 90.0
BUILD_UMASK = 0o022
SAVED_STATE_MAX_AGE_DAYS = 14
NETNS_CONFIG_FOLDER = Path("/etc/netns")


@dataclass(frozen=True)
class Lab:
    """A running lab.

    Attributes:
        layout: Names, addresses and folders of the lab.
        acceleration: Accelerator of the guests, `KVM` or `TCG`.
    """

    layout: LabLayout
    acceleration: Acceleration

    @property
    def inventory_file(self) -> Path:
        """Return the path of the lab's inventory file."""
        return self.layout.inventory_file


def start_lab(
    topology: Topology, name: str, *, report_progress: ProgressCallback, topology_name: str = ""
) -> Lab:
    """Build and boot a lab, or return the running lab with the same name and topology.

    The function first removes the leftovers of an earlier lab with the same name. After an error
    no part of the lab stays on the machine.

    Args:
        topology: Hosts, pairs and links of the lab.
        name: Name of the lab, see `check_lab_name`.
        report_progress: Called with a line of text for each slow step.
        topology_name: Name or path of the topology, stored in the state file for messages.

    Returns:
        The running lab.

    Raises:
        LabError: The machine cannot run a lab, or a step of the build failed.
        UsageError: The process runs inside the namespace of a lab, the running lab has another
            topology, or the name is not allowed.
    """
    layout = LabLayout(name, topology)
    check_machine()
    with state.lock_labs():
        phase = state.detect_lab_phase(name)
        if phase is LabPhase.UP:
            return _reuse_lab(topology, name)
        if phase is LabPhase.LEFTOVER:
            report_progress(f"removing leftovers of lab {name!r}, which ended without clean-up")
            _clear_lab(name)
        try:
            with _set_umask(BUILD_UMASK):
                return _build_lab(layout, report_progress, topology_name)
        except BaseException:
            _clear_lab(name)
            raise


@contextmanager
def _set_umask(umask: int) -> Iterator[None]:
    """Set the umask of the process during the `with` block.

    The services of a lab host run as several users, and must read the files that migqual creates.
    """
    previous_umask = os.umask(umask)
    try:
        yield
    finally:
        os.umask(previous_umask)


def check_start_conditions(topology: Topology, name: str) -> None:
    """Check whether `start_lab` can start a lab. The function changes nothing on the machine.

    Raises:
        LabError: The machine cannot run a lab.
        UsageError: The process runs inside the namespace of a lab, or the running lab with the
            same name has another topology.
    """
    if state.detect_lab_phase(name) is LabPhase.UP:
        _reuse_lab(topology, name)
    else:
        check_machine()


def _reuse_lab(topology: Topology, name: str) -> Lab:
    """Return the running lab `name`. Raise `UsageError` if the lab has another topology."""
    lab_state, running_layout = state.read_lab_state(name)
    if running_layout.topology != topology:
        raise UsageError(
            f"lab {name} is up with another topology ({lab_state.topology_name})",
            remedy=f"run `migqual lab down --name {name}`, or choose another --name",
        )
    return Lab(running_layout, lab_state.acceleration)


def remove_lab(name: str) -> bool:
    """Kill all processes of the lab and remove all namespaces and folders of the lab.

    Args:
        name: Name of the lab. The lab may be incomplete or absent.

    Returns:
        True if any part of the lab existed.

    Raises:
        UsageError: The process runs inside the namespace of a lab. A command inside a lab
            cannot remove the lab.
    """
    check_outside_lab()
    with state.lock_labs():
        existed = bool(state.list_lab_resources(name))
        _clear_lab(name)
    return existed


def _build_lab(layout: LabLayout, report_progress: ProgressCallback, topology_name: str) -> Lab:
    lab_state = LabState(
        name=layout.name,
        phase=LabPhase.BUILDING,
        topology_name=topology_name,
        acceleration=layout.topology.acceleration,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        guest_key="",
    )
    state.write_lab_state(layout, lab_state)
    with ThreadPoolExecutor(max_workers=4) as pool:
        image_future = pool.submit(
            ensure_guest_image,
            paths.get_cache_folder(),
            layout.topology.guest_architecture,
            report_progress=report_progress,
        )
        rootfs_paths = ensure_host_rootfs(layout.topology, report_progress)
        _prepare_hosts(layout, rootfs_paths)
        network.create_network(layout)
        booting_hosts = _boot_hosts(layout, rootfs_paths)
        try:
            guest_image = image_future.result()
            accelerator = acceleration.choose_accelerator(
                layout, rootfs_paths[layout.hosts[0].name], guest_image, report_progress
            )
            _wait_for_hosts(layout, booting_hosts)
        except BaseException:
            for process, _ in booting_hosts.values():
                nspawn_host.kill_process_group(process)
            raise
        finally:
            for _, listener in booting_hosts.values():
                listener.close()
    _write_controller_files(layout, lab_state, guest_image, accelerator)
    return Lab(layout, accelerator)


def _write_controller_files(
    layout: LabLayout, lab_state: LabState, guest_image: GuestImage, accelerator: Acceleration
) -> None:
    inventory_export.write_inventory(layout, acceleration=accelerator)
    folder = NETNS_CONFIG_FOLDER / layout.controller_namespace
    (folder / "ssh").mkdir(parents=True, exist_ok=True)
    (folder / "hosts").write_text(host_config.render_controller_hosts_file(layout))
    (folder / "ssh" / "ssh_config").write_text(host_config.render_controller_ssh_config(layout))
    up_state = replace(
        lab_state, phase=LabPhase.UP, acceleration=accelerator, guest_key=guest_image.key
    )
    state.write_lab_state(layout, up_state)


def _prepare_hosts(layout: LabLayout, rootfs_paths: dict[str, Path]) -> None:
    for folder in (layout.shared_folder, layout.exports_folder):
        folder.mkdir(parents=True)
    nspawn_host.create_kvm_device(layout)
    _remove_old_saved_states()
    host_config.create_ssh_keys(layout)
    for host in layout.hosts:
        host_config.write_host_config(layout, host, rootfs_paths[host.name])


def _remove_old_saved_states() -> None:
    """Remove the saved guest states that no run has used for `SAVED_STATE_MAX_AGE_DAYS` days.

    A run updates the modification time of each saved state that the run uses.
    """
    folder = nspawn_host.get_saved_states_folder()
    folder.mkdir(parents=True, exist_ok=True)
    oldest_mtime = time.time() - SAVED_STATE_MAX_AGE_DAYS * 86400
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another lab that starts now may remove the file
            if file.stat().st_mtime < oldest_mtime:
                file.unlink()


def _boot_hosts(layout: LabLayout, rootfs_paths: dict[str, Path]) -> BootingHosts:
    booting_hosts = {}
    for host in layout.hosts:
        listener = nspawn_host.bind_notify_socket(host)
        booting_hosts[host.name] = (
            nspawn_host.boot_host(layout, host, rootfs_paths[host.name]),
            listener,
        )
    return booting_hosts


def _wait_for_hosts(layout: LabLayout, booting_hosts: BootingHosts) -> None:
    deadline = Deadline(BOOT_TIMEOUT_SECONDS)
    for host in layout.hosts:
        process, listener = booting_hosts[host.name]
        nspawn_host.wait_for_boot(host, listener, process, deadline)


def _clear_lab(name: str) -> None:
    """Kill all processes of the lab, and remove all namespaces, cgroups and folders of the lab."""
    deadline = Deadline(30.0)
    cgroup.kill_group(f"migqual/{name}", deadline)
    cgroup.remove_unified_groups(f"migqual/{name}")
    for namespace in state.list_namespaces(name):
        _kill_processes_in(namespace, deadline)
        subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)
        shutil.rmtree(NETNS_CONFIG_FOLDER / namespace, ignore_errors=True)
    nspawn_host.clear_nspawn_state(name)
    for folder in (get_disk_folder(name), paths.get_labs_folder() / name):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        get_disk_folder(name).parent.rmdir()
    for folder in cgroup.list_group_folders("migqual"):
        with suppress(OSError):
            folder.rmdir()
    with suppress(OSError):
        NETNS_CONFIG_FOLDER.rmdir()
    network.remove_netns_folder()


def _kill_processes_in(namespace: str, deadline: Deadline) -> None:
    """Kill all processes in a network namespace except the current process and its ancestors."""

    def kill_processes() -> bool:
        result = subprocess.run(
            ["ip", "netns", "pids", namespace], check=False, capture_output=True, text=True
        )
        pids = {int(pid) for pid in result.stdout.split()} - _list_ancestor_pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    deadline.wait_for(f"end of the processes in namespace {namespace}", kill_processes)


def _list_ancestor_pids() -> set[int]:
    pids, pid = set(), os.getpid()
    while pid > 1:
        pids.add(pid)
        pid = state.read_parent_pid(pid)
    return pids
