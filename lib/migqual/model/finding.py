"""The result of a preflight check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """Effect of a finding (the result of a preflight check) on the migration.

    Attributes:
        OK: The check found no problem.
        WARNING: The migration may run, but has a disadvantage.
        REFUSED: The migration must not run.
        UNKNOWN: The facts for the check could not be collected.
    """

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """The result of a single preflight check.

    Attributes:
        id: Requirement id with a suffix for the check, e.g. ``LM-PRE-04.memory``.
        severity: Effect of the result on the migration.
        message: The result of the check in a sentence, with the checked object and the values.
        figures: Numbers of the result, with the units in the names.
        remedy: An action that solves the problem. Empty means that there is no problem.
    """

    id: str
    severity: Severity
    message: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    remedy: str = ""

    @property
    def requirement_id(self) -> str:
        """Return the id of the requirement, which is the part of `id` before the dot."""
        return self.id.partition(".")[0]
