"""The result of a preflight check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """Severity of a finding for the examined migration."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """The result of a single preflight check.

    Attributes:
        id: Requirement id with a suffix for the check, e.g. ``LM-PRE-04.memory``.
        severity: ok, warning (the migration may run, with a drawback), refused, or unknown (the
            check found no answer).
        message: A sentence with enough detail for the user to act.
        figures: Numbers behind the result, with the units in the names.
        remedy: Advice for the user; empty when ok.
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
