"""Tests of the time summary: the steps of a run and the time of each step, from the records."""

from dataclasses import replace

import pytest

from migqual.model.record import MigrationRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report import time_summary
from migqual.report.time_summary import UNTIMED_STEP

pytestmark = pytest.mark.selftest

BASE_RECORD = TestRecord("r", "t", "", "", "", (), None, Verdict.PASS)
MIGRATION = MigrationRecord({}, "virsh migrate")
TESTS = (
    replace(
        BASE_RECORD,
        seconds=10.0,
        steps={"boot": 4.0, "migrate": 3.0},
        migrations=(MIGRATION, MIGRATION),
    ),
    replace(BASE_RECORD, seconds=6.0, steps={"migrate": 5.0}, migrations=(MIGRATION,)),
    replace(BASE_RECORD, verdict=Verdict.NOT_RUN),
)


def test_step_times_add_up_to_total() -> None:
    """
    The table of step times has each second of each test in exactly one row.

    Expected: the longest step is first. Each row states the number of tests with the step. Time
    outside all steps has a row, too.
    """
    step_totals = time_summary.compute_step_totals(TESTS)

    assert [
        (step_total.name, step_total.seconds, step_total.test_count) for step_total in step_totals
    ] == [
        ("migrate", 8.0, 2),
        ("boot", 4.0, 1),
        (UNTIMED_STEP, 4.0, 2),
    ]
    assert sum(step_total.share for step_total in step_totals) == pytest.approx(1.0)
    assert step_totals[0].seconds_per_test == 4.0


def test_time_summary_ignores_tests_not_run() -> None:
    """A test with the verdict `not-run` has no effect on any mean."""
    assert time_summary.render_time_summary(TESTS) == (
        "16 s for all tests, 8.0 s per test (2 tests), 5.3 s per migration (3 migrations)"
    )
    assert time_summary.render_time_summary(TESTS[2:]) == "no test ran"
    assert len(list(time_summary.render_time_table(TESTS))) == 2 + 3
