"""Where the time of a run went, from its records."""

from dataclasses import replace

import pytest

from migqual.model.record import MigrationRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report import time_spent
from migqual.report.time_spent import OWN

pytestmark = pytest.mark.selftest

BLANK = TestRecord("r", "t", "", "", "", (), None, Verdict.PASS)
MOVED = MigrationRecord({}, "virsh migrate")
TESTS = (
    replace(BLANK, seconds=10.0, steps={"boot": 4.0, "migrate": 3.0}, migrations=(MOVED, MOVED)),
    replace(BLANK, seconds=6.0, steps={"migrate": 5.0}, migrations=(MOVED,)),
    replace(BLANK, verdict=Verdict.NOT_RUN),
)


def test_steps_add_up_to_the_whole() -> None:
    """
    Every second of every test that ran is in one row.

    Expected: longest first, with the tests that entered it; what no step took is a row too.
    """
    found = time_spent.total_steps(TESTS)

    assert [(one.name, one.seconds, one.tests) for one in found] == [
        ("migrate", 8.0, 2),
        ("boot", 4.0, 1),
        (OWN, 4.0, 2),
    ]
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert found[0].seconds_per_test == 4.0


def test_the_summary_counts_tests_and_migrations_that_happened() -> None:
    """A test that was not run has no part in any mean."""
    assert time_spent.summarize_time(TESTS) == (
        "16 s of workers: 8.0 s for each of 2 tests, 5.3 s for each of 3 migrations"
    )
    assert time_spent.summarize_time(TESTS[2:]) == "no test was run"
    assert len(list(time_spent.render_profile(TESTS))) == 2 + 3
