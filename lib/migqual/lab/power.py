"""Switch a host of a running lab off and on, as a power failure does.

The links of the host go down first, so a dying process of the host cannot send a packet to other
hosts. The disks of the host stay; memory and running guests are lost.
"""

import json
from contextlib import suppress
from pathlib import Path

from migqual.deadline import Deadline
from migqual.errors import LabError
from migqual.lab import cgroup, nspawn_host, state
from migqual.lab.layout import HostLayout, LabLayout
from migqual.lab.lifecycle import BOOT_TIMEOUT_SECONDS
from migqual.lab.local_command import run_local_command
from migqual.lab.machine_check import check_outside_lab
from migqual.lab.network import get_port_name, list_host_networks

KILL_SECONDS = 30.0


def power_off(lab_name: str, host_name: str) -> None:
    """Switch a host off at once. A host that is off stays off.

    Args:
        lab_name: Name of the lab.
        host_name: Name of the host in the topology.

    Raises:
        UsageError: The lab or the host does not exist, or the process runs inside the lab.
        TimedOut: Processes of the host are still there after `KILL_SECONDS`.
    """
    layout, host = _find_host(lab_name, host_name)
    host.power_file.touch()
    _set_links(layout, host, "down")
    nspawn_host.kill_lab_host(host, Deadline(KILL_SECONDS))


def power_on(lab_name: str, host_name: str) -> None:
    """Switch a host on, and wait for the end of the boot. A host that runs stays as it is.

    Args:
        lab_name: Name of the lab.
        host_name: Name of the host in the topology.

    Raises:
        UsageError: The lab or the host does not exist, or the process runs inside the lab.
        LabError: The host does not boot.
    """
    layout, host = _find_host(lab_name, host_name)
    _set_links(layout, host, "up")
    if cgroup.list_group_pids(host.cgroup_name):
        host.power_file.unlink(missing_ok=True)
        return
    listener = nspawn_host.bind_notify_socket(host)
    with listener:
        process = nspawn_host.boot_host(layout, host, _read_rootfs(host))
        try:
            nspawn_host.wait_for_boot(host, listener, process, Deadline(BOOT_TIMEOUT_SECONDS))
        except BaseException:
            nspawn_host.kill_process_group(process)
            raise
    host.power_file.unlink(missing_ok=True)


def _find_host(lab_name: str, host_name: str) -> tuple[LabLayout, HostLayout]:
    """Find a host of a lab.

    Raises:
        UsageError: The lab or the host does not exist, or the process runs inside a lab.
    """
    check_outside_lab()
    layout = state.read_lab_state(lab_name)[1]
    return layout, layout.get_host(host_name)


def _set_links(layout: LabLayout, host: HostLayout, link_state: str) -> None:
    lines = [
        f"link set {get_port_name(host.name, network)} {link_state}\n"
        for network in list_host_networks(host)
    ]
    run_local_command(["ip", "-n", layout.bridge_namespace, "-batch", "-"], stdin="".join(lines))


def _read_rootfs(host: HostLayout) -> Path:
    """Read from `launch.json` the path of the root file system of the host.

    Raises:
        LabError: The host was never booted.
    """
    with suppress(FileNotFoundError):
        config = json.loads((host.folder / nspawn_host.LAUNCH_FILE).read_text())
        return Path(config["rootfs"])
    raise LabError(
        f"host {host.name} was never booted", remedy="run `migqual lab down`, then `migqual lab up`"
    )
