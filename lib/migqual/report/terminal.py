"""The verdict as lines of text. Pure."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from migqual.model.record import RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report.judge import PairResult, RequirementResult, judge, qualifies

WIDTH = 110


def lines(run: RunRecord, records: Sequence[TestRecord], index: Path) -> Iterator[str]:
    """One table per pair, then the verdict, the counts and the report's path."""
    results = judge(run, records)
    for result in results:
        yield from _table(result)
    yield f"verdict: {headline(run, results)}"
    yield f"counts:  {counts(results, records)}"
    yield f"report:  {index}"


def headline(run: RunRecord, results: Sequence[PairResult]) -> str:
    good = sum(result.qualified for result in results)
    word = "QUALIFIED" if qualifies(results) else "NOT QUALIFIED"
    return f"{word}: {good} of {len(results)} pairs qualify under profile {run.profile.name}"


def counts(results: Sequence[PairResult], records: Sequence[TestRecord]) -> str:
    """Requirements (over all pairs), tests and migrations, by verdict."""
    requirements = [item.verdict for result in results for item in result.requirements]
    migrations = sum(len(record.migrations) for record in records)
    return (
        f"requirements {_tally(requirements)}; "
        f"tests {_tally([record.verdict for record in records])}; "
        f"migrations {migrations}"
    )


def _tally(verdicts: Sequence[Verdict]) -> str:
    found = Counter(verdicts)
    parts = [f"{found[verdict]} {verdict.value}" for verdict in Verdict if found[verdict]]
    return f"{len(verdicts)} ({', '.join(parts)})" if parts else "0"


def _table(result: PairResult) -> Iterator[str]:
    word = "qualified" if result.qualified else "NOT QUALIFIED"
    yield f"{result.pair.source} -> {result.pair.destination}: {word}"
    for obstacle in result.obstacles:
        yield f"  ! {obstacle}"
    idle = [r for r in result.requirements if not r.tests and not r.missed]
    for requirement in result.requirements:
        if requirement not in idle:
            yield render_row(requirement)
    if idle:
        yield f"  not demanded and not run: {len(idle)} requirements"
    yield ""


def render_row(requirement: RequirementResult) -> str:
    """One requirement: mark, id, verdict, demand, tests, and the reason where it did not pass."""
    mark = "!" if requirement.missed else "~" if requirement.reserved else " "
    tests = f"{len(requirement.tests)} test{'s'[: len(requirement.tests) != 1]}"
    head = (
        f"  {mark} {requirement.id:<12} {requirement.verdict.value:<13}"
        f"{requirement.demand.value:<10}{tests:<10}"
    )
    if requirement.verdict is Verdict.PASS:
        return head.rstrip()
    return head + textwrap.shorten(requirement.reason, WIDTH - len(head), placeholder=" ...")
