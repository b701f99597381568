"""What a smoke run says: which requirements were seen working. It qualifies nobody. Pure."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from migqual.model.record import Demand, RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report.judge import PairResult, RequirementResult, judge
from migqual.report.terminal import render_row


def shown(
    run: RunRecord, records: Sequence[TestRecord]
) -> list[tuple[PairResult, list[RequirementResult]]]:
    """The pairs that tests ran on, each with the requirements that a test was chosen for."""
    results = [
        (pair, [one for one in pair.requirements if one.tests]) for pair in judge(run, records)
    ]
    return [(pair, rows) for pair, rows in results if rows]


def works(run: RunRecord, records: Sequence[TestRecord]) -> bool:
    """Every row was seen working, but for those that the profile lets a host lack."""
    rows = [row for _, found in shown(run, records) for row in found]
    return bool(rows) and all(
        row.verdict is Verdict.PASS
        or (row.verdict is Verdict.UNSUPPORTED and row.demand is not Demand.REQUIRED)
        for row in rows
    )


def lines(run: RunRecord, records: Sequence[TestRecord], index: Path) -> Iterator[str]:
    """The rows that were not seen working, the count of those that were, and the report's path. A
    row that tests on several pairs show works where it does on each of them."""
    found = shown(run, records)
    rows = [row for _, mine in found for row in mine]
    missed = [row for row in rows if row.verdict is not Verdict.PASS]
    every = {row.id for row in rows}
    seen = every - {row.id for row in missed}
    pairs = [f"{pair.pair.source} -> {pair.pair.destination}" for pair, _ in found]
    where = pairs[0] if len(pairs) == 1 else f"one of {', '.join(pairs)}"
    yield from (render_row(row) for row in missed)
    yield f"smoke: {len(seen)} of {len(every)} rows seen working on {where}; this qualifies nobody"
    yield f"report: {index}"
