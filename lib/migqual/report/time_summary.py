"""Sum up the time of a run by step, over all tests. The functions are pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migqual.model.record import TestRecord

UNTIMED_STEP = "outside all steps"


@dataclass(frozen=True)
class StepTotal:
    """A step, summed up over all executed tests.

    Attributes:
        seconds: Seconds of all workers together.
        test_count: Number of tests with the step.
        share: Share of all seconds, from 0 to 1.
    """

    name: str
    seconds: float
    test_count: int
    share: float

    @property
    def seconds_per_test(self) -> float:
        """Return the mean seconds of the step in the tests with the step."""
        return self.seconds / self.test_count if self.test_count else 0.0


def compute_step_totals(records: Sequence[TestRecord]) -> list[StepTotal]:
    """Compute the total of each step over the executed tests, the longest step first.

    The time outside all steps forms a separate row.

    Returns:
        The totals; empty without an executed test.
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
    """Render the worker seconds: in total, per test, and per migration.

    The seconds per migration include all work around the migration.
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
        f"{total_s:.0f} s of all workers: {total_s / len(executed_records):.1f} s per test "
        f"({len(executed_records)} tests){per_migration}"
    )


def render_time_table(records: Sequence[TestRecord]) -> Iterator[str]:
    """Render the time table for `migqual report --time-spent`, as lines of text."""
    yield f"time spent: {render_time_summary(records)}"
    yield f"  {'step':<28}{'s':>9}{'share':>8}{'tests':>8}{'s/test':>9}"
    for total in compute_step_totals(records):
        yield (
            f"  {total.name:<28}{total.seconds:>9.1f}{total.share:>8.1%}{total.test_count:>8}"
            f"{total.seconds_per_test:>9.2f}"
        )
