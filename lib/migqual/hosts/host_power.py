"""Switch a host off and on with the power command of the inventory (migqual_power_command)."""

import shlex
import subprocess
from enum import StrEnum

from migqual.deadline import Deadline
from migqual.errors import HostError, WithheldError
from migqual.hosts.host import Host
from migqual.inventory.entities import HostEntry, hide_arguments

POWER_KIND = "power"  # kind of a journal entry for a host that migqual switches off
COMMAND_SECONDS = 120.0
BOOT_SECONDS = 600.0  # a server needs minutes to boot


class PowerAction(StrEnum):
    """What the power command does: switch the host on, or switch it off without a shutdown."""

    OFF = "off"
    ON = "on"


def require_power_command(entry: HostEntry) -> None:
    """Require that the inventory has a power command for the host.

    Raises:
        WithheldError: The inventory has no power command for the host.
    """
    if not entry.power_command:
        raise WithheldError(
            f"the inventory has no command that switches {entry.name} off and on",
            remedy=f"set migqual_power_command for {entry.name}, for example a call of ipmitool",
        )


def is_reachable(host: Host) -> bool:
    """Return whether SSH and libvirt of the host answer."""
    try:
        host.shell.run("true", seconds=5)
        host.libvirt.query_versions()
    except HostError:
        return False
    return True


def switch_power(entry: HostEntry, action: PowerAction) -> None:
    """Switch a host off or on with the power command in the inventory.

    The controller runs the command (`migqual_power_command`).

    Args:
        entry: The host in the inventory.
        action: Whether the command switches the host off or on.

    Raises:
        WithheldError: The inventory has no power command for the host.
        HostError: The command fails, or does not end within `COMMAND_SECONDS`.
    """
    require_power_command(entry)
    command = entry.power_command.format(action=action, name=entry.name, address=entry.address)
    try:
        result = subprocess.run(
            shlex.split(command),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        raise _build_command_error(entry, action, str(error)) from error
    except subprocess.TimeoutExpired:  # its text contains all arguments
        raise _build_command_error(entry, action, f"no end within {COMMAND_SECONDS:g} s") from None
    if result.returncode != 0:
        output = (result.stderr or result.stdout).strip()
        raise _build_command_error(entry, action, f"exit status {result.returncode}: {output}")


def _build_command_error(entry: HostEntry, action: PowerAction, reason: str) -> HostError:
    return HostError(
        entry.name,
        f"power command `{hide_arguments(entry.power_command)}`, action {action}: {reason}",
        remedy="run migqual_power_command of the inventory by hand, and correct the command",
    )


def switch_on(host: Host) -> None:
    """Switch a host on, and wait until SSH and libvirt answer on new connections.

    Raises:
        WithheldError: The inventory has no power command for the host.
        HostError: The power command fails.
        TimedOut: The host does not answer within `BOOT_SECONDS`.
    """
    switch_power(host.entry, PowerAction.ON)
    host.close_connections()
    Deadline(BOOT_SECONDS).wait_for(
        f"the boot of {host.name}", lambda: is_reachable(host), interval_s=0.2
    )
