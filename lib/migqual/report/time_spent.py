"""Where the time of a run went: the steps of all tests, added up. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migqual.model.record import TestRecord

OWN = "the tests themselves"


@dataclass(frozen=True)
class StepTotal:
    """One step over all tests that were run.

    seconds  of all workers together; tests: how many entered the step; share: of all seconds
    """

    name: str
    seconds: float
    tests: int
    share: float

    @property
    def seconds_per_test(self) -> float:
        """Of the tests that entered the step."""
        return self.seconds / self.tests if self.tests else 0.0


def total_steps(records: Sequence[TestRecord]) -> list[StepTotal]:
    """The steps of the tests that were run, the longest first; what no step took comes as a row of
    its own. Empty where nothing was run."""
    run = [record for record in records if record.seconds]
    whole = sum(record.seconds for record in run)
    seconds: dict[str, float] = {}
    tests: dict[str, int] = {}
    for record in run:
        own = max(0.0, record.seconds - sum(record.steps.values()))
        for name, spent in {**record.steps, OWN: own}.items():
            seconds[name] = seconds.get(name, 0.0) + spent
            tests[name] = tests.get(name, 0) + 1
    totals = [StepTotal(name, spent, tests[name], spent / whole) for name, spent in seconds.items()]
    return sorted(totals, key=lambda total: (-total.seconds, total.name))


def count_migrations(records: Sequence[TestRecord]) -> int:
    """Migrations of all tests."""
    return sum(len(record.migrations) for record in records)


def summarize_time(records: Sequence[TestRecord]) -> str:
    """Worker seconds in all, for each test, and for each migration with all that is around it."""
    run = [record for record in records if record.seconds]
    if not run:
        return "no test was run"
    whole, migrations = sum(record.seconds for record in run), count_migrations(run)
    each = f", {whole / migrations:.1f} s for each of {migrations} migrations" if migrations else ""
    return f"{whole:.0f} s of workers: {whole / len(run):.1f} s for each of {len(run)} tests{each}"


def render_profile(records: Sequence[TestRecord]) -> Iterator[str]:
    """Lines of text: what `migqual report --profile` prints."""
    yield f"where the time went: {summarize_time(records)}"
    yield f"  {'step':<28}{'s':>9}{'share':>8}{'tests':>8}{'s each':>9}"
    for total in total_steps(records):
        yield (
            f"  {total.name:<28}{total.seconds:>9.1f}{total.share:>8.1%}{total.tests:>8}"
            f"{total.seconds_per_test:>9.2f}"
        )
