"""Summarize a smoke run, which runs only the shortest test of each requirement.

The functions are pure.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from migqual.model.record import Demand, RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report.qualification import PairResult, RequirementResult, judge_pairs
from migqual.report.terminal_summary import render_requirement_row


def list_tested_requirements(
    run: RunRecord, records: Sequence[TestRecord]
) -> list[tuple[PairResult, list[RequirementResult]]]:
    """List the pairs on which tests ran, each with the results of the tested requirements."""
    results = [
        (
            pair_result,
            [requirement for requirement in pair_result.requirements if requirement.tests],
        )
        for pair_result in judge_pairs(run, records)
    ]
    return [(pair, rows) for pair, rows in results if rows]


def is_smoke_passed(run: RunRecord, records: Sequence[TestRecord]) -> bool:
    """Return whether at least one requirement was tested, and all tested requirements passed.

    A requirement that the profile does not demand may also be `unsupported`.
    """
    rows = [row for _, pair_rows in list_tested_requirements(run, records) for row in pair_rows]
    return bool(rows) and all(
        row.verdict is Verdict.PASS
        or (row.verdict is Verdict.UNSUPPORTED and row.demand is not Demand.REQUIRED)
        for row in rows
    )


def render_smoke_summary(
    run: RunRecord, records: Sequence[TestRecord], index_file: Path
) -> Iterator[str]:
    """Render the summary of a smoke run as lines of text.

    The lines show each requirement that did not pass, the number of requirements that work, and
    the path of the report. A requirement works if it passed on every pair on which it was tested.
    """
    tested_pairs = list_tested_requirements(run, records)
    rows = [row for _, pair_rows in tested_pairs for row in pair_rows]
    rows_not_passed = [row for row in rows if row.verdict is not Verdict.PASS]
    requirement_ids = {row.id for row in rows}
    working_ids = requirement_ids - {row.id for row in rows_not_passed}
    pairs = [
        f"{pair_result.pair.source} -> {pair_result.pair.destination}"
        for pair_result, _ in tested_pairs
    ]
    yield from (render_requirement_row(row) for row in rows_not_passed)
    yield (
        f"smoke: {len(working_ids)} of {len(requirement_ids)} requirements work (pairs: "
        f"{', '.join(pairs)}); a smoke run qualifies no pair"
    )
    yield f"report: {index_file}"
