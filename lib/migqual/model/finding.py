"""One result of a preflight check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for the migration that it was made for."""

    OK = "ok"
    WARNING = "warning"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    id       the requirement's id with a suffix naming the check, e.g. ``LM-PRE-04.memory``
    verdict  ok, warning (may run, at a price), refused, or unknown (could not be found out)
    words    one sentence that a person can act on
    figures  the numbers it rests on, units in the names
    remedy   what to do about it; empty when ok
    """

    id: str
    verdict: Severity
    words: str
    figures: Mapping[str, float | str] = field(default_factory=dict)
    remedy: str = ""

    @property
    def requirement(self) -> str:
        return self.id.partition(".")[0]
