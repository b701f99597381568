"""Render the HTML report, a single page that loads no other files."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from migqual import paths
from migqual.model.record import RunRecord, TestRecord
from migqual.model.verdict import Verdict
from migqual.report import terminal_summary, time_summary
from migqual.report.charts import build_charts
from migqual.report.fault_tables import list_command_rows, list_fault_rows
from migqual.report.qualification import (
    PairResult,
    RequirementResult,
    judge_pairs,
    judge_run,
)
from migqual.report.stack_differences import StackComparison

TEMPLATES = paths.REPORTS / "templates"
VERDICT_SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.UNSUPPORTED: "⊘",
    Verdict.WITHHELD: "⊖",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_RUN: "○",
}


def render_html_report(
    run: RunRecord, records: Sequence[TestRecord], comparison: StackComparison | None = None
) -> str:
    """Render the HTML report of a run. Text from the records is escaped.

    Args:
        run: The record of the run. The caller merges the records of several runs.
        records: The test records of the run.
        comparison: Differences between the libvirt and QEMU versions of several runs. None leaves
            out the comparison.
    """
    results = judge_pairs(run, records)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": format_figure,
        "instant": format_timestamp,
        "duration": format_duration,
    }
    return environment.get_template("index.html.j2").render(
        run=run,
        results=results,
        run_result=judge_run(results),
        counts=terminal_summary.render_counts(results, records),
        signs={verdict.value: sign for verdict, sign in VERDICT_SIGNS.items()},
        chapters=group_by_chapter(results),
        not_run=group_not_run(results),
        migrations=[(record, migration) for record in records for migration in record.migrations],
        charts=build_charts(records),
        fault_rows=list_fault_rows(records),
        command_rows=list_command_rows(records),
        comparison=comparison or StackComparison((), ()),
        time_totals=time_summary.compute_step_totals(records),
        time_summary=time_summary.render_time_summary(records),
        environment=[(name, list_fact_lines(facts)) for name, facts in run.environment.items()],
    )


def group_by_chapter(
    results: Sequence[PairResult],
) -> Mapping[str, list[tuple[RequirementResult, ...]]]:
    """Group the results of all pairs by the chapter of the requirement.

    The result contains each requirement that the profile demands, and each requirement that a test
    covered.

    Returns:
        The rows of each chapter, by chapter title. A row contains the results of one requirement on
        all pairs.
    """
    chapters: dict[str, list[tuple[RequirementResult, ...]]] = {}
    ids = dict.fromkeys(item.id for result in results for item in result.requirements)
    for id_ in ids:
        row = tuple(item for result in results for item in result.requirements if item.id == id_)
        if any(item.tests or item.is_unmet for item in row):
            chapters.setdefault(row[0].summary.chapter, []).append(row)
    return chapters


def group_not_run(results: Sequence[PairResult]) -> Mapping[str, list[RequirementResult]]:
    """Group by chapter title the requirements that are `not-run` on all pairs."""
    chapters: dict[str, list[RequirementResult]] = {}
    not_run_ids = [
        {item.id for item in result.requirements if item.verdict is Verdict.NOT_RUN}
        for result in results
    ]
    for item in results[0].requirements if results else ():
        if all(item.id in ids for ids in not_run_ids):
            chapters.setdefault(item.summary.chapter, []).append(item)
    return chapters


def list_fact_lines(facts: Any, prefix: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - any JSON value
    """List nested facts as flat lines: ``{"cpu": {"model": "x"}}`` gives ``("cpu.model", "x")``."""
    if isinstance(facts, Mapping):
        return [
            line
            for name, value in facts.items()
            for line in list_fact_lines(value, f"{prefix}.{name}" if prefix else str(name))
        ]
    if isinstance(facts, list | tuple):
        return [(prefix, ", ".join(str(item) for item in facts))]
    return [(prefix, "not known" if facts is None else str(facts))]


def format_figure(value: float | None) -> str:
    """Format a figure for a table. None gives ``—``.

    A figure below 100 has three significant digits. A figure from 100 on is an integer.
    """
    if value is None:
        return "—"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_timestamp(timestamp: str | None) -> str:
    """Format the time `2026-01-02T03:04:05.678Z` as `2026-01-02 03:04:05 UTC`.

    None gives ``not finished``. Text of another form is returned unchanged.
    """
    if timestamp is None:
        return "not finished"
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)", timestamp)
    return f"{match[1]} {match[2]} UTC" if match else timestamp


def format_duration(seconds: float) -> str:
    """Format seconds as ``12.3 s`` or, from 60 s on, as ``2 min 5 s``."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
