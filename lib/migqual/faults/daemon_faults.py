"""Kill libvirt's daemon of a host. Guests continue to run meanwhile."""

from migqual.deadline import Deadline
from migqual.faults.injection import require_exclusive_hosts
from migqual.hosts.host import Host
from migqual.hosts.libvirt_daemon import (
    RESTART_SECONDS,
    check_harmless_restart,
    find_daemon_unit,
    wait_for_daemon,
)


def kill_daemon(host: Host) -> None:
    """Kill libvirt's daemon with SIGKILL, and wait until a new daemon answers.

    Raises:
        TimedOut: No new daemon answers within `RESTART_SECONDS`.
        WithheldError: Others may use the host.
    """
    unit = _require_daemon(host)
    old_pid = _read_main_pid(host, unit)
    host.shell.run("systemctl", "kill", f"{unit}.service", "--kill-who=main", "--signal=KILL")
    Deadline(RESTART_SECONDS).wait_for(
        f"the end of {unit} on {host.name}", lambda: _read_main_pid(host, unit) != old_pid
    )
    if not _is_active(host, unit):  # a host whose systemd does not restart the daemon
        host.shell.run_unchecked("systemctl", "reset-failed", f"{unit}.service")
        host.shell.run_unchecked("systemctl", "start", f"{unit}.service")
    wait_for_daemon(host)


def _require_daemon(host: Host) -> str:
    """Return the unit of the daemon, after checks that a fault harms nobody else."""
    require_exclusive_hosts("fault of libvirt's daemon", host)
    check_harmless_restart(host)
    return find_daemon_unit(host)


def _is_active(host: Host, unit: str) -> bool:
    status = host.shell.run_unchecked("systemctl", "is-active", f"{unit}.service").stdout.strip()
    return status in {"active", "activating", "deactivating"}


def _read_main_pid(host: Host, unit: str) -> str:
    argv = ("systemctl", "show", "--property=MainPID", "--value", f"{unit}.service")
    return host.shell.run(*argv).stdout.strip()
