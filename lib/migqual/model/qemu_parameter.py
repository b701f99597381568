"""QEMU migration parameters without a libvirt option.

The library sets the parameters through the monitor, as in::

    virsh qemu-monitor-command GUEST '{"execute": "migrate-set-parameters", ...}'
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ParameterValue = bool | int | str


class ParameterEnds(StrEnum):
    """Ends of the migration with the parameter set.

    Attributes:
        SOURCE: Set the parameter at the source only.
        BOTH: Set the parameter at both ends, because both ends must agree. The destination's
            QEMU starts with the parameter: data may arrive before a monitor command is
            possible.
    """

    SOURCE = "source"
    BOTH = "both"


@dataclass(frozen=True)
class QemuParameter:
    """A parameter, with the name from `query-migrate-parameters`, e.g. ``compress-method``."""

    name: str
    value: ParameterValue
    ends: ParameterEnds = ParameterEnds.SOURCE

    @property
    def global_argument(self) -> str:
        """Return the value of QEMU's option ``-global`` for the parameter."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"migration.{self.name}={value}"


def select_for_destination(parameters: Sequence[QemuParameter]) -> tuple[QemuParameter, ...]:
    """Select the parameters for the start of the destination's QEMU."""
    return tuple(parameter for parameter in parameters if parameter.ends is ParameterEnds.BOTH)


def render_set_parameters_command(parameters: Sequence[QemuParameter]) -> str:
    """Render the QMP command `migrate-set-parameters` for `parameters`."""
    values = {parameter.name: parameter.value for parameter in parameters}
    return json.dumps({"execute": "migrate-set-parameters", "arguments": values})
