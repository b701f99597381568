"""Kill libvirt's daemon of a host. Guests continue to run meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.deadline import Deadline
from migqual.faults.injection import inject_commands, require_exclusive_hosts
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.libvirt_daemon import (
    RESTART_SECONDS,
    check_harmless_restart,
    find_daemon_unit,
    read_daemon_pid,
    wait_for_daemon,
)


def kill_daemon(host: Host) -> None:
    """Kill libvirt's daemon with SIGKILL, and wait until a new daemon answers.

    Raises:
        TimedOut: No new daemon answers within `RESTART_SECONDS`.
        WithheldError: The host has no `migqual_exclusive: true` and is not a lab host.
    """
    unit = _require_daemon(host)
    old_pid = read_daemon_pid(host, unit)
    host.shell.run("systemctl", "kill", f"{unit}.service", "--kill-who=main", "--signal=KILL")
    Deadline(RESTART_SECONDS).wait_for(
        f"the end of {unit} on {host.name}", lambda: read_daemon_pid(host, unit) != old_pid
    )
    if not _is_active(host, unit):  # a host whose systemd does not restart the daemon
        host.shell.run_unchecked("systemctl", "reset-failed", f"{unit}.service")
        host.shell.run_unchecked("systemctl", "start", f"{unit}.service")
    wait_for_daemon(host)


@contextmanager
def freeze_daemon(journal: Journal, host: Host) -> Iterator[None]:
    """Freeze libvirt's daemon with SIGSTOP during the block, as if the daemon hung.

    The daemon keeps its connections, and answers nothing. After the block, the function waits until
    the daemon answers again.

    Args:
        journal: Journal in which the function records the fault before SIGSTOP, for the clean-up.
        host: The host of the daemon.

    Raises:
        InconclusiveError: The daemon is not frozen after the signal.
        WithheldError: The host has no `migqual_exclusive: true` and is not a lab host.
    """
    unit = _require_daemon(host)
    kill = ("systemctl", "kill", f"{unit}.service", "--kill-who=main")
    with inject_commands(
        journal,
        host,
        f"frozen {unit}",
        [(*kill, "--signal=STOP")],
        [(*kill, "--signal=CONT")],
        lambda: is_process_frozen(host, read_daemon_pid(host, unit)),
    ):
        yield
    wait_for_daemon(host)


def is_process_frozen(host: Host, pid: str) -> bool:
    """Return whether a signal has stopped the process (state ``T`` in proc(5))."""
    status = host.shell.run_unchecked("cat", f"/proc/{pid}/stat").stdout
    return status.rpartition(")")[2].split()[:1] == ["T"]


def _require_daemon(host: Host) -> str:
    """Check that migqual may kill or freeze libvirt's daemon, and return the daemon's systemd unit.

    The check makes sure that such a fault harms no other user of the host.

    Raises:
        HostError: A guest that migqual did not create has a job, or no libvirt daemon is active.
        WithheldError: The host has no `migqual_exclusive: true` and is not a lab host.
    """
    require_exclusive_hosts("fault of libvirt's daemon", host)
    check_harmless_restart(host)
    return find_daemon_unit(host)


def _is_active(host: Host, unit: str) -> bool:
    status = host.shell.run_unchecked("systemctl", "is-active", f"{unit}.service").stdout.strip()
    return status in {"active", "activating", "deactivating"}
