"""Migration parameters of QEMU that libvirt has no option for.

They are set through the monitor, as `virsh qemu-monitor-command GUEST
'{"execute": "migrate-set-parameters", ...}'` does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

Value = bool | int | str


class Ends(StrEnum):
    """Who is set. What both ends must agree on is set at both; the destination's QEMU is started
    with it, since data may come before its monitor could be asked."""

    SOURCE = "source"
    BOTH = "both"


@dataclass(frozen=True)
class Setting:
    """One parameter as `query-migrate-parameters` calls it, e.g. ``compress-method``."""

    name: str
    value: Value
    ends: Ends = Ends.SOURCE

    @property
    def argument(self) -> str:
        """The value of ``-global`` that starts QEMU with it."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"migration.{self.name}={value}"


def at_destination(settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """Those that the destination is started with."""
    return tuple(setting for setting in settings if setting.ends is Ends.BOTH)


def monitor_command(settings: Sequence[Setting]) -> str:
    """The QMP message that sets them."""
    values = {setting.name: setting.value for setting in settings}
    return json.dumps({"execute": "migrate-set-parameters", "arguments": values})
