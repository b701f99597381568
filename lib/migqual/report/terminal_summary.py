"""Render the verdict of a run as lines of text for the terminal. The functions are pure."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from migqual.model.record import RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report.causes import find_common_causes
from migqual.report.qualification import (
    PairResult,
    RequirementResult,
    judge_pairs,
    judge_run,
)

WIDTH = 110


def render_verdict_summary(
    run: RunRecord, records: Sequence[TestRecord], index_file: Path
) -> Iterator[str]:
    """Render a table for each pair, then the verdict, counts, common causes and report path."""
    results = judge_pairs(run, records)
    for result in results:
        yield from _render_pair_table(result)
    yield f"verdict: {render_headline(run, results)}"
    yield f"counts:  {render_counts(results, records)}"
    for cause in find_common_causes(records):
        reason = textwrap.shorten(cause.reason, WIDTH, placeholder=" ...")
        test_count = len(cause.test_ids)
        yield f"cause:   {test_count} tests with the verdict {cause.verdict.value}: {reason}"
    yield f"report:  {index_file}"


def render_headline(run: RunRecord, results: Sequence[PairResult]) -> str:
    """Render the verdict of the run and the number of qualified pairs as a line of text."""
    qualified_count = sum(result.is_qualified for result in results)
    return (
        f"{judge_run(results).value.upper()}: {qualified_count} of {len(results)} pairs qualify "
        f"under profile {run.profile.name}"
    )


def render_counts(results: Sequence[PairResult], records: Sequence[TestRecord]) -> str:
    """Render the numbers of requirements and tests by verdict, and the number of migrations.

    A requirement counts once for each pair.
    """
    requirements = [item.verdict for result in results for item in result.requirements]
    migrations = sum(len(record.migrations) for record in records)
    return (
        f"requirements {_render_verdict_counts(requirements)}; "
        f"tests {_render_verdict_counts([record.verdict for record in records])}; "
        f"migrations {migrations}"
    )


def _render_verdict_counts(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdicts)
    parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    return f"{len(verdicts)} ({', '.join(parts)})" if parts else "0"


def _render_pair_table(result: PairResult) -> Iterator[str]:
    verdict_text = result.result.value if result.is_qualified else result.result.value.upper()
    yield f"{result.pair.source} -> {result.pair.destination}{result.pair.suffix}: {verdict_text}"
    for obstacle in result.blocking_reasons:
        yield f"  ! {obstacle}"
    not_demanded = [
        requirement
        for requirement in result.requirements
        if not requirement.tests and not requirement.is_unmet
    ]
    for requirement in result.requirements:
        if requirement not in not_demanded:
            yield render_requirement_row(requirement)
    if not_demanded:
        yield f"  {len(not_demanded)} requirements are not demanded by the profile and not run"
    yield ""


def render_requirement_row(requirement: RequirementResult) -> str:
    """Render a line with mark, id, verdict, demand, number of tests and reason of a requirement.

    The mark ``!`` means an unmet requirement. The mark ``~`` means a reservation: a problem that
    does not prevent the qualification, for example an unknown message of libvirt. The line of a
    requirement that passed without a reservation contains no reason.
    """
    mark = "!" if requirement.is_unmet else "~" if requirement.is_reservation else " "
    tests = f"{len(requirement.tests)} test{'s'[: len(requirement.tests) != 1]}"
    row_start = (
        f"  {mark} {requirement.id:<12} {requirement.verdict.value:<13}"
        f"{requirement.demand.value:<10}{tests:<10}"
    )
    reason = requirement.reason
    if requirement.verdict is Verdict.PASS:
        reason = requirement.reservation if requirement.is_reservation else ""
    return (
        row_start + textwrap.shorten(reason, WIDTH - len(row_start), placeholder=" ...")
    ).rstrip()
