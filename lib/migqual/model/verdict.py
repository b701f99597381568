"""The five verdicts, and which of several is the worst."""

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - not a password
    UNSUPPORTED = "unsupported"
    NOT_RUN = "not-run"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def badness(self) -> int:
        return tuple(Verdict).index(self)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of `verdicts`; `not-run` when there are none."""
    return max(verdicts, key=lambda verdict: verdict.badness, default=Verdict.NOT_RUN)
