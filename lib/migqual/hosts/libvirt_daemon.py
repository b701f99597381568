"""Find and restart the libvirt daemon (virtqemud or libvirtd) of a host."""

from migqual.deadline import Deadline
from migqual.errors import ConnectionLost, HostError
from migqual.hosts.host import Host
from migqual.hosts.libvirt_queries import list_foreign_guests_with_jobs

DAEMON_UNITS = ("virtqemud", "libvirtd")
RESTART_SECONDS = 60.0
FOREIGN_JOB_SECONDS = 600.0


def find_daemon_unit(host: Host) -> str:
    """Find the systemd unit of the active libvirt daemon for QEMU.

    Returns:
        `virtqemud` or `libvirtd`.

    Raises:
        HostError: Neither unit is active.
    """
    for unit_name in DAEMON_UNITS:
        units = (f"{unit_name}.service", f"{unit_name}.socket")
        # systemctl prints a line for each unit; a socket can be active without the service
        if "active" in host.shell.run_unchecked("systemctl", "is-active", *units).stdout.split():
            return unit_name
    raise HostError(
        host.name,
        "libvirt's daemon is not running",
        remedy=f"start {' or '.join(DAEMON_UNITS)} on the host",
    )


def read_daemon_pid(host: Host, unit: str) -> str:
    """Read the process id of the daemon of a systemd unit; "0" if no daemon runs."""
    argv = ("systemctl", "show", "--property=MainPID", "--value", f"{unit}.service")
    return host.shell.run(*argv).stdout.strip()


def check_harmless_restart(host: Host) -> None:
    """Check that a restart of libvirt's daemon harms no other user of the host.

    A restart ends the jobs of all guests, for example migrations.

    Raises:
        HostError: The inventory does not set `migqual_exclusive` for the host. Or the inventory
            sets the key, but a guest that migqual did not create has a job.
    """
    if not host.entry.is_exclusive:
        raise HostError(
            host.name,
            "migqual does not restart libvirt's daemon, because others may use the host",
            remedy="set migqual_exclusive: true if nobody else uses the host during a run",
        )
    foreign_guests = list_foreign_guests_with_jobs(host.libvirt)
    if foreign_guests:
        raise HostError(
            host.name,
            "migqual does not restart libvirt's daemon, because guests of other users have jobs: "
            f"{', '.join(foreign_guests)}",
            remedy="wait until the jobs end",
        )


def wait_for_foreign_jobs(host: Host) -> None:
    """Wait until the guests that migqual did not create have no jobs.

    Then a restart of the daemon ends no job of other users.

    Raises:
        TimedOut: A job does not end within `FOREIGN_JOB_SECONDS`.
    """
    Deadline(FOREIGN_JOB_SECONDS).wait_for(
        f"the end of the jobs of other users' guests on {host.name}",
        lambda: not list_foreign_guests_with_jobs(host.libvirt),
        interval_s=1.0,
    )


def restart_daemon(host: Host) -> None:
    """Restart the libvirt daemon and wait until libvirt answers.

    The daemon reads changed configuration files only after a restart. Guests continue to run, but
    their jobs (migrations, backups) end.

    Raises:
        HostError: The restart could harm other users (see `check_harmless_restart`), no libvirt
            daemon is active, or the daemon does not start again. After a failed start, the error
            contains the last 5 lines of the daemon's log.
        TimedOut: libvirt does not answer within `RESTART_SECONDS`.
    """
    check_harmless_restart(host)
    unit_name = find_daemon_unit(host)
    result = host.shell.run_unchecked(
        "systemctl", "restart", f"{unit_name}.service", seconds=RESTART_SECONDS
    )
    if result.status != 0:
        log_result = host.shell.run_unchecked(
            "journalctl", "-u", unit_name, "-n", "5", "--no-pager", "-o", "cat"
        )
        raise HostError(
            host.name,
            f"{unit_name} does not start: {' | '.join(log_result.stdout.splitlines())}",
            remedy=f"read `journalctl -u {unit_name}` on the host",
        )
    host.libvirt.close()
    wait_for_daemon(host)


def wait_for_daemon(host: Host) -> None:
    """Wait until libvirt on the host answers.

    Raises:
        TimedOut: libvirt does not answer within `RESTART_SECONDS`.
    """

    def is_reachable() -> bool:
        try:
            host.libvirt.query_versions()
        except (ConnectionLost, HostError):
            return False
        return True

    Deadline(RESTART_SECONDS).wait_for(
        f"the reply of libvirt's daemon on {host.name}", is_reachable, interval_s=0.1
    )
