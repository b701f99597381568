"""Add up the seconds of each step (part of a test) over all tests of a run.

The functions are pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migqual.model.record import TestRecord

UNTIMED_STEP = "outside all steps"


@dataclass(frozen=True)
class StepTotal:
    """The seconds of a step (part of a test), added up over all executed tests.

    Attributes:
        seconds: Sum over all tests. Tests of several workers may run at the same time.
        test_count: Number of tests that contain the step.
        share: Seconds of the step, divided by the seconds of all executed tests.
    """

    name: str
    seconds: float
    test_count: int
    share: float

    @property
    def seconds_per_test(self) -> float:
        """Return the mean seconds of the step in the tests that contain the step."""
        return self.seconds / self.test_count if self.test_count else 0.0


def compute_step_totals(records: Sequence[TestRecord]) -> list[StepTotal]:
    """Compute the seconds of each step (part of a test) over all executed tests.

    The seconds outside all steps count as a separate step. The longest step comes first.

    Returns:
        The total of each step. The list is empty if no test was executed.
    """
    executed_records = [record for record in records if record.seconds]
    total_s = sum(record.seconds for record in executed_records)
    seconds_by_step: dict[str, float] = {}
    tests_by_step: dict[str, int] = {}
    for record in executed_records:
        untimed_s = max(0.0, record.seconds - sum(record.steps.values()))
        for name, step_s in {**record.steps, UNTIMED_STEP: untimed_s}.items():
            seconds_by_step[name] = seconds_by_step.get(name, 0.0) + step_s
            tests_by_step[name] = tests_by_step.get(name, 0) + 1
    totals = [
        StepTotal(name, spent, tests_by_step[name], spent / total_s)
        for name, spent in seconds_by_step.items()
    ]
    return sorted(totals, key=lambda total: (-total.seconds, total.name))


def count_migrations(records: Sequence[TestRecord]) -> int:
    """Count the migrations of all tests."""
    return sum(len(record.migrations) for record in records)


def render_time_summary(records: Sequence[TestRecord]) -> str:
    """Render the sum of the seconds of all tests, the mean per test and the mean per migration.

    The mean per migration is the sum of the seconds divided by the number of migrations.
    """
    executed_records = [record for record in records if record.seconds]
    if not executed_records:
        return "no test ran"
    total_s, migration_count = (
        sum(record.seconds for record in executed_records),
        count_migrations(executed_records),
    )
    per_migration = (
        f", {total_s / migration_count:.1f} s per migration ({migration_count} migrations)"
        if migration_count
        else ""
    )
    return (
        f"{total_s:.0f} s for all tests, {total_s / len(executed_records):.1f} s per test "
        f"({len(executed_records)} tests){per_migration}"
    )


def render_time_table(records: Sequence[TestRecord]) -> Iterator[str]:
    """Render a table with the seconds of each step, for `migqual report --time-spent`."""
    yield f"time spent: {render_time_summary(records)}"
    yield f"  {'step':<28}{'s':>9}{'share':>8}{'tests':>8}{'s/test':>9}"
    for total in compute_step_totals(records):
        yield (
            f"  {total.name:<28}{total.seconds:>9.1f}{total.share:>8.1%}{total.test_count:>8}"
            f"{total.seconds_per_test:>9.2f}"
        )
