"""Define the verdicts of tests and requirements, and find the worst of several verdicts."""

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """Verdict of a test or a requirement, in order from good to bad."""

    PASS = "pass"  # noqa: S105 - not a password
    UNSUPPORTED = "unsupported"
    WITHHELD = "withheld"
    NOT_RUN = "not-run"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        """Return the rank of the verdict, from 0 for the best to 5 for the worst."""
        return tuple(Verdict).index(self)


def find_worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Find the worst of `verdicts`, or return `not-run` if `verdicts` is empty."""
    return max(verdicts, key=lambda verdict: verdict.rank, default=Verdict.NOT_RUN)
