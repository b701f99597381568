"""Find reasons that several failed or inconclusive tests have in common.

The functions are pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from migqual.model.record import TestRecord
from migqual.model.verdict import Verdict

MIN_TESTS = 3
# Parts of a reason that differ from test to test: guests, ids, numbers.
_CHANGING_PART = re.compile(r"mq-[0-9a-f]{6}-\d+-\d+|[0-9a-f]{8,}|\d+")


@dataclass(frozen=True)
class CommonCause:
    """A reason that several failed or inconclusive tests have in common.

    Attributes:
        verdict: The verdict of all these tests, `fail` or `inconclusive`.
        reason: The reason of the first test.
        test_ids: Ids of the tests. A test that ran on two pairs is listed twice.
    """

    verdict: Verdict
    reason: str
    test_ids: tuple[str, ...]


def find_common_causes(records: Sequence[TestRecord]) -> tuple[CommonCause, ...]:
    """Find the reasons that at least `MIN_TESTS` failed or inconclusive tests have in common.

    Two reasons are equal if they differ only in numbers, hexadecimal ids and names of guests.
    One fault of a host often stops many tests. The summary then shows the reason only once.

    Returns:
        The common reasons. The reason of the most tests comes first.
    """
    groups: dict[tuple[Verdict, str], list[TestRecord]] = {}
    for record in records:
        if record.verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE}:
            key = (record.verdict, _CHANGING_PART.sub("N", record.reason))
            groups.setdefault(key, []).append(record)
    causes = (
        CommonCause(verdict, group[0].reason, tuple(record.id for record in group))
        for (verdict, _), group in groups.items()
        if len(group) >= MIN_TESTS
    )
    return tuple(sorted(causes, key=lambda cause: -len(cause.test_ids)))
