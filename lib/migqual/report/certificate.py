"""The report for people: one HTML page that needs nothing but itself."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from migqual import places
from migqual.model.record import RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report import terminal, time_spent
from migqual.report.charts import charts
from migqual.report.judge import PairResult, RequirementResult, judge, qualifies

TEMPLATES = places.REPORTS / "templates"
SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.UNSUPPORTED: "⊘",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_RUN: "○",
}


def render(run: RunRecord, records: Sequence[TestRecord]) -> str:
    """The page. Whatever the records hold is text in it, never markup."""
    results = judge(run, records)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "instant": instant, "duration": duration}
    return environment.get_template("index.html.j2").render(
        run=run,
        results=results,
        qualified=qualifies(results),
        counts=terminal.counts(results, records),
        signs={verdict.value: sign for verdict, sign in SIGNS.items()},
        chapters=by_chapter(results),
        not_run=not_run(results),
        migrations=[(record, one) for record in records for one in record.migrations],
        charts=charts(records),
        time_totals=time_spent.total_steps(records),
        time_summary=time_spent.summarize_time(records),
        provenance=[(name, flat(facts)) for name, facts in run.environment.items()],
    )


def by_chapter(
    results: Sequence[PairResult],
) -> Mapping[str, list[tuple[RequirementResult, ...]]]:
    """Chapter -> rows; a row holds one requirement's result on every pair.

    Rows that nobody demands and no test touched are left to `not_run`.
    """
    chapters: dict[str, list[tuple[RequirementResult, ...]]] = {}
    ids = dict.fromkeys(item.id for result in results for item in result.requirements)
    for id_ in ids:
        row = tuple(item for result in results for item in result.requirements if item.id == id_)
        if any(item.tests or item.missed for item in row):
            chapters.setdefault(row[0].name.chapter, []).append(row)
    return chapters


def not_run(results: Sequence[PairResult]) -> Mapping[str, list[RequirementResult]]:
    """Chapter -> requirements that no pair has a verdict on."""
    chapters: dict[str, list[RequirementResult]] = {}
    idle = [
        {item.id for item in result.requirements if item.verdict is Verdict.NOT_RUN}
        for result in results
    ]
    for item in results[0].requirements if results else ():
        if all(item.id in ids for ids in idle):
            chapters.setdefault(item.name.chapter, []).append(item)
    return chapters


def flat(facts: Any, prefix: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - free provenance
    """Nested provenance as (dotted name, words) lines."""
    if isinstance(facts, Mapping):
        return [
            line
            for name, inner in facts.items()
            for line in flat(inner, f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(facts, list | tuple):
        return [(prefix, ", ".join(str(item) for item in facts))]
    return [(prefix, "not known" if facts is None else str(facts))]


def figure(value: float | None) -> str:
    """Three digits are all that one migration can tell."""
    if value is None:
        return "—"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def instant(moment: str | None) -> str:
    """`2026-01-02T03:04:05.678Z` -> `2026-01-02 03:04:05 UTC`; whatever else it is, as it is."""
    if moment is None:
        return "never"
    parts = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)", moment)
    return f"{parts[1]} {parts[2]} UTC" if parts else moment


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
