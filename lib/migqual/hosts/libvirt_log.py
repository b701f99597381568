"""Read the errors that libvirt's daemon has written to the systemd journal of a host."""

import math
import re

from migqual.hosts.host import Host
from migqual.hosts.libvirt_daemon import find_daemon_unit


def read_recent_errors(host: Host, guest_name: str, max_age_s: float) -> list[str]:
    """Read the errors of libvirt's daemon about a guest or about migrations.

    Errors about other guests of the host are left out.

    Args:
        host: The host.
        guest_name: Name of the guest.
        max_age_s: Only errors of the last `max_age_s` seconds are read.

    Raises:
        HostError: No daemon of libvirt is active on the host.
    """
    output = host.shell.run_unchecked(
        *("journalctl", "-u", f"{find_daemon_unit(host)}.service", "-p", "err", "-o", "cat"),
        *("--no-pager", "--since", f"-{math.ceil(max_age_s)}s"),
    ).stdout
    return list_migration_errors(output, guest_name)


def list_migration_errors(log: str, guest_name: str) -> list[str]:
    """List the log lines that contain the name of the guest or the word `migration`.

    Equal lines are listed only once.
    """
    pattern = re.compile(rf"\bmigration\b|(?<![\w-]){re.escape(guest_name)}(?![\w-])")
    return list(dict.fromkeys(line for line in log.splitlines() if pattern.search(line)))
