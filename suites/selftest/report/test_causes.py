"""A cause that several tests have in common is reported once."""

import pytest

from migqual.model.record import PairName, TestRecord
from migqual.model.verdict import Verdict
from migqual.report.causes import find_common_causes

pytestmark = pytest.mark.selftest


def make_record(test_id: str, reason: str, verdict: Verdict = Verdict.INCONCLUSIVE) -> TestRecord:
    return TestRecord("r", test_id, "t", "", "Caps", (), PairName("a", "b"), verdict, reason)


def test_reasons_differ_only_in_guest_and_numbers() -> None:
    """Tests have a common cause if their reasons differ only in guest names and numbers.

    A reason is the message that explains the verdict of a test. A common cause needs at least three
    tests with the same verdict. Three of the five tests have such reasons.
    """
    records = [
        make_record("t1", "setup: HostError: mq-0a1b2c-0-1 after 12 s: no firmware"),
        make_record("t2", "setup: HostError: mq-0a1b2c-1-7 after 30 s: no firmware"),
        make_record("t3", "setup: HostError: mq-ffffff-0-2 after 1 s: no firmware"),
        make_record("t4", "setup: HostError: no store"),
        make_record("t5", "", Verdict.PASS),
    ]

    (cause,) = find_common_causes(records)

    assert cause.test_ids == ("t1", "t2", "t3")
    assert cause.reason == records[0].reason


def test_two_tests_are_no_common_cause() -> None:
    """Two tests with equal reasons are too few for a common cause.

    A third test with an equal reason, but with another verdict, does not count.
    """
    records = [
        make_record("t1", "no"),
        make_record("t2", "no"),
        make_record("t3", "no", Verdict.FAIL),
    ]

    assert find_common_causes(records) == ()
