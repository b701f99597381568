"""Kill, stop or freeze libvirt's daemon of a host. Guests continue to run meanwhile."""

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
    wait_for_daemon,
)

_SOCKET_SUFFIXES = (".socket", "-ro.socket", "-admin.socket")


@contextmanager
def stop_daemon(journal: Journal, host: Host) -> Iterator[None]:
    """Stop libvirt's daemon and its sockets while the block runs.

    After the block the daemon runs again, and answers.

    Raises:
        InconclusiveError: The daemon is not stopped.
        WithheldError: Others may use the host.
    """
    unit = _require_daemon(host)
    sockets = [f"{unit}{suffix}" for suffix in _SOCKET_SUFFIXES]
    with inject_commands(
        journal,
        host,
        f"stopped {unit}",
        [("systemctl", "stop", *sockets, f"{unit}.service")],
        [("systemctl", "start", f"{unit}.service"), ("systemctl", "start", *sockets)],
        lambda: not _is_active(host, unit),
    ):
        yield
    wait_for_daemon(host)


@contextmanager
def freeze_daemon(journal: Journal, host: Host) -> Iterator[None]:
    """Freeze all processes of libvirt's daemon with SIGSTOP while the block runs.

    Raises:
        InconclusiveError: The daemon is not frozen.
        WithheldError: Others may use the host.
    """
    unit = _require_daemon(host)

    def is_frozen() -> bool:
        state = host.shell.run("ps", "-o", "state=", "-p", _read_main_pid(host, unit))
        return state.stdout.strip() == "T"

    signal_argv = ("systemctl", "kill", f"{unit}.service", "--kill-who=main")
    with inject_commands(
        journal,
        host,
        f"frozen {unit}",
        [(*signal_argv, "--signal=STOP")],
        [(*signal_argv, "--signal=CONT")],
        is_frozen,
    ):
        yield
    wait_for_daemon(host)


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
