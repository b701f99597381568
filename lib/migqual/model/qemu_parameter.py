"""QEMU's migration parameters for which libvirt has no option.

migqual sets the parameters through the monitor, as in::

    virsh qemu-monitor-command GUEST '{"execute": "migrate-set-parameters", ...}'
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ParameterValue = bool | int | str


class ParameterEnds(StrEnum):
    """Hosts on which a migration parameter is set.

    Attributes:
        SOURCE: Only the source.
        BOTH: Source and destination, which need equal values. At the destination, the value is on
            QEMU's command line, because data can arrive before the first monitor command.
    """

    SOURCE = "source"
    BOTH = "both"


@dataclass(frozen=True)
class QemuParameter:
    """A migration parameter, named as in `query-migrate-parameters`, and the value to set."""

    name: str
    value: ParameterValue
    ends: ParameterEnds = ParameterEnds.SOURCE

    @property
    def global_argument(self) -> str:
        """Return the text ``migration.NAME=VALUE`` for QEMU's option ``-global``."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"migration.{self.name}={value}"


def select_for_destination(parameters: Sequence[QemuParameter]) -> tuple[QemuParameter, ...]:
    """Select the parameters for the command line of QEMU at the destination."""
    return tuple(parameter for parameter in parameters if parameter.ends is ParameterEnds.BOTH)


def render_set_parameters_command(parameters: Sequence[QemuParameter]) -> str:
    """Render the QMP command `migrate-set-parameters` for `parameters`, as JSON text."""
    values = {parameter.name: parameter.value for parameter in parameters}
    return json.dumps({"execute": "migrate-set-parameters", "arguments": values})
