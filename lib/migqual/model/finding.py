"""The result of a preflight check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """Importance of a finding for the migration."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """The result of a single preflight check.

    Attributes:
        id: Requirement id with a suffix for the check, e.g. ``LM-PRE-04.memory``.
        severity: ok: no problem. warning: the migration may run, with a disadvantage. refused:
            the migration must not run. unknown: the facts for the check are missing.
        message: The result of the check in a sentence, with the object and the values.
        figures: Numbers of the result, with the units in the names.
        remedy: An action that solves the problem; empty when ok.
    """

    id: str
    severity: Severity
    message: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    remedy: str = ""

    @property
    def requirement_id(self) -> str:
        """Return the requirement id: the part of `id` before the dot."""
        return self.id.partition(".")[0]
