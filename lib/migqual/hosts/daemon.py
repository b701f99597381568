"""libvirt's daemon on a host: the one of old for everything, or the one for QEMU alone."""

from migqual.deadline import Deadline
from migqual.errors import ConnectionLost, HostError
from migqual.hosts.host import Host

UNITS = ("virtqemud", "libvirtd")
RESTART_SECONDS = 60.0


def unit(host: Host) -> str:
    """The unit whose daemon answers for QEMU. Raises `HostError` when none is active."""
    for name in UNITS:
        units = (f"{name}.service", f"{name}.socket")
        # one line per unit; a socket may wait while its service rests
        if "active" in host.shell.attempt("systemctl", "is-active", *units).stdout.split():
            return name
    raise HostError(host.name, "libvirt's daemon does not run", remedy=f"start {UNITS[0]}")


def restart(host: Host) -> None:
    """Restart the daemon, as after a change of its files; guests run on. Returns when it answers.

    Raises `HostError` with the daemon's last words when it does not come back.
    """
    name = unit(host)
    done = host.shell.attempt("systemctl", "restart", f"{name}.service", seconds=RESTART_SECONDS)
    if done.status != 0:
        words = host.shell.attempt("journalctl", "-u", name, "-n", "5", "--no-pager", "-o", "cat")
        raise HostError(host.name, f"{name} does not start: {' | '.join(words.stdout.split())}")
    host.libvirt.close()

    def answers() -> bool:
        try:
            host.libvirt.versions()
        except (ConnectionLost, HostError):
            return False
        return True

    Deadline(RESTART_SECONDS).wait_for(f"{name} on {host.name} to answer", answers, interval=0.1)
