"""The result of a run or of a pair, and the exit code of `migqual run` for each result."""

from enum import StrEnum


class RunResult(StrEnum):
    """The result of a run or of a pair.

    Attributes:
        QUALIFIED: All required requirements passed.
        NOT_QUALIFIED: At least one required requirement failed or is unsupported, or the guests
            did not use the expected acceleration.
        INCONCLUSIVE: Nothing failed, but the verdict of at least one required requirement is
            `inconclusive`, `not-run` or `withheld`, or the run did not finish.
    """

    QUALIFIED = "qualified"
    NOT_QUALIFIED = "not qualified"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        """Return the exit code of `migqual run` and `migqual report`: 0, 1 or 4."""
        return _EXIT_CODES[self]


_EXIT_CODES = {RunResult.QUALIFIED: 0, RunResult.NOT_QUALIFIED: 1, RunResult.INCONCLUSIVE: 4}
