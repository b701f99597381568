"""Tests of the HTML report, the terminal summary, the charts and the `report` command."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from migqual.commands import report
from migqual.model.record import (
    Attachment,
    Demand,
    MigrationRecord,
    PairName,
    ProfileSnapshot,
    RequirementSummary,
    RunRecord,
    RunTier,
    TestRecord,
)
from migqual.model.verdict import Verdict
from migqual.report import record_files, report_folder, terminal_summary
from migqual.report.charts import Scale, build_charts, choose_tick_step
from migqual.report.html_report import (
    format_duration,
    format_figure,
    format_timestamp,
    list_fact_lines,
    render_html_report,
)

pytestmark = pytest.mark.selftest

INJECTION = '"><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>{{ 7 * 7 }}'
PAIR = PairName("a1", "b1")
RUN = RunRecord(
    id="r1",
    started="2026-01-02T03:04:05.678Z",
    finished="2026-01-02T03:05:05Z",
    profile=ProfileSnapshot("lab", {"LM-CAP-01": Demand.REQUIRED, "LM-TLS-01": Demand.OPTIONAL}),
    tier=RunTier.LAB,
    version="1",
    pairs=(PAIR,),
    requirements={
        "LM-CAP-01": RequirementSummary("A guest moves", "Capabilities"),
        "LM-TLS-01": RequirementSummary("Certificates are set", "Encryption"),
    },
    environment={"host a1": {"qemu": "7.2.15"}},
)
METRICS = {"downtime_qemu_ms": 40.0, "downtime_libvirt_ms": 44.0, "gap_max_ms": 61.0}
TEST = TestRecord(
    "r1",
    "suites/x.py::test_y",
    "It moves",
    "",
    "Capabilities",
    ("LM-CAP-01",),
    PAIR,
    Verdict.PASS,
    migrations=(MigrationRecord({}, "virsh migrate --live g1", METRICS),),
)


def parse_page(page: str) -> Any:  # noqa: ANN401 - the stubs know little of lxml.html
    return html.document_fromstring(page)


def extract_text(page: str) -> str:
    return " ".join(parse_page(page).text_content().split())


def test_page_states_verdict_as_text() -> None:
    """The verdict is also text: color is lost on paper and for some readers."""
    assert "✓ Qualified" in extract_text(render_html_report(RUN, [TEST]))
    failed_text = extract_text(
        render_html_report(RUN, [TEST.replace_verdict(Verdict.FAIL, "a page was lost")])
    )
    assert "✗ Not qualified" in failed_text
    assert "a page was lost" in failed_text


def test_page_shows_command_metrics_and_not_run() -> None:
    """
    The page shows three downtimes side by side and the `virsh` command to repeat the migration.

    Expected: the downtimes of QEMU, libvirt and the client. Requirements without a test are
    listed as not run.
    """
    text = extract_text(render_html_report(RUN, [TEST]))
    assert re.search(r"completed — 40 44 61 — virsh migrate --live g1", text)
    assert re.search(r"Not run .* LM-TLS-01 Certificates are set \(optional\)", text)
    assert "7.2.15" in text


def render_page_with_injection() -> str:
    run = replace(
        RUN,
        id=INJECTION,
        profile=replace(RUN.profile, name=INJECTION, thresholds={INJECTION: INJECTION}),
        pairs=(PairName(INJECTION, INJECTION),),
        requirements={"LM-CAP-01": RequirementSummary(INJECTION, INJECTION)},
        environment={INJECTION: {INJECTION: [INJECTION]}},
    )
    record = replace(
        TEST,
        id=INJECTION,
        title=INJECTION,
        pair=run.pairs[0],
        verdict=Verdict.FAIL,
        reason=INJECTION,
        migrations=(
            MigrationRecord({}, INJECTION, METRICS, INJECTION, INJECTION),
            MigrationRecord({}, INJECTION, METRICS),
        ),
        attachments=(Attachment(INJECTION, INJECTION, INJECTION),),
    )
    return render_html_report(run, [record])


def test_injected_markup_stays_text() -> None:
    """Markup in logs and host names stays text: both come from the machines under test."""
    page = parse_page(render_page_with_injection())
    assert not page.xpath("//script | //img | //iframe | //object | //embed")
    assert not page.xpath("//@*[starts-with(name(), 'on')]")
    assert "{{ 7 * 7 }}" in page.text_content()


@pytest.mark.parametrize(
    "page",
    [render_html_report(RUN, [TEST]), render_page_with_injection()],
    ids=["plain", "injection"],
)
def test_page_loads_no_external_resource(page: str) -> None:
    """The page works offline, and opening the page contacts no server."""
    tree = parse_page(page)
    assert not tree.xpath("//@src | //@href | //@*[name()='xlink:href'] | //link | //base | //form")
    assert not re.search(r"url\(|@import", "".join(tree.xpath("//style/text()")))
    assert tree.xpath("//meta[contains(@content, \"default-src 'none'\")]")


def test_page_of_run_without_pairs() -> None:
    """A run without any result has a complete report, like all other runs."""
    text = extract_text(render_html_report(replace(RUN, pairs=(), finished=None), []))
    assert "? Inconclusive" in text
    assert "No pair was tested" in text


def test_terminal_summary_ends_with_verdict_counts_and_path() -> None:
    """
    The summary ends with the verdict, the counts and the path: terminals and CI show the end.
    """
    lines = list(
        terminal_summary.render_verdict_summary(
            RUN, [TEST.replace_verdict(Verdict.FAIL, "lost\na page")], Path("/r.html")
        )
    )
    assert "  ! LM-CAP-01    fail         required  1 test    lost a page" in lines
    assert lines[-3:] == [
        "verdict: NOT QUALIFIED: 0 of 1 pairs qualify under profile lab",
        "counts:  requirements 2 (1 not-run, 1 fail); tests 1 (1 fail); migrations 1",
        "report:  /r.html",
    ]


def test_charts_show_completed_migrations_and_median() -> None:
    """
    A chart shows a point for each completed migration, and the median of the points.

    Expected: a failed migration has no point and does not change the median, because its downtime
    is not valid.
    """
    migration_metrics = [{"gap_max_ms": value} for value in (10.0, 20.0, 60.0)]
    migrations = [MigrationRecord({}, "", metrics) for metrics in migration_metrics]
    migrations.append(MigrationRecord({}, "", {"gap_max_ms": 999.0}, status="failed"))
    (chart,) = build_charts([replace(TEST, migrations=tuple(migrations))])
    (row,) = chart.rows
    assert row.median == 20.0
    assert [round(point.x, 1) for point in row.points] == [
        Scale.fit_to_values([10, 60]).map_to_x(value) for value in (10, 20, 60)
    ]


def test_encryption_charts_compare_transfer_settings() -> None:
    """
    The charts of the cost of encryption have a row for each transfer setting.

    Expected: only tests of LM-TLS-05 are in the charts, because only such tests compare the
    settings.
    """
    plans: list[dict[str, object]] = [{}, {"tls": True}, {"tls": True, "channels": 4}]
    migrations = tuple(
        MigrationRecord(plan, "", {"throughput_avg_mib_s": 100.0 + number})
        for number, plan in enumerate(plans)
    )
    tls_cost_test = replace(TEST, requirements=("LM-TLS-05",), migrations=migrations)
    unrelated_test = replace(TEST, migrations=migrations)

    charts_by_title = {
        chart.title: chart for chart in build_charts([tls_cost_test, unrelated_test])
    }

    chart = charts_by_title["Cost of encryption: throughput"]
    assert [row.label for row in chart.rows] == [
        *("average · TLS", "average · TLS, 4 channels", "average · plain")
    ]
    assert [len(row.points) for row in chart.rows] == [1, 1, 1]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([0.0], False),
        ([5.0], False),
        ([1.0, 39.0], False),
        ([1.0, 97000.0], True),
        ([0.0, 900.0], False),
    ],
)
def test_scale_covers_all_values(values: list[float], *, logarithmic: bool) -> None:
    """All values of a chart are between the first and the last tick of the scale."""
    scale = Scale.fit_to_values(values)
    tick_positions = [scale.map_to_x(tick) for tick in scale.list_ticks()]
    assert scale.logarithmic is logarithmic
    assert all(tick_positions[0] <= scale.map_to_x(value) <= tick_positions[-1] for value in values)
    assert 2 <= len(tick_positions) <= 12


@pytest.mark.parametrize(
    ("max_value", "step"), [(0, 1), (1, 0.2), (4, 1), (9, 2), (97, 20), (450, 100)]
)
def test_tick_steps_are_round_numbers(max_value: float, step: float) -> None:
    """A tick step is 1, 2 or 5 times a power of ten."""
    assert choose_tick_step(max_value) == pytest.approx(step)


def test_formats_of_report_values() -> None:
    """
    The report rounds figures, states timestamps in UTC, and lists each nested fact in a line.

    Expected: a figure below 100 has three significant digits, for example `41.3`. The fact `model`
    of the fact `cpu` is in the line `cpu.model`.
    """
    assert [format_figure(value) for value in (None, 0.0, 41.26, 1234.5)] == [
        "—",
        "0",
        "41.3",
        "1,234",
    ]
    assert format_timestamp("2026-01-02T03:04:05.678Z") == "2026-01-02 03:04:05 UTC"
    assert [format_timestamp(None), format_timestamp("noon")] == ["not finished", "noon"]
    assert [format_duration(3.14), format_duration(125)] == ["3.1 s", "2 min 5 s"]
    assert list_fact_lines({"cpu": {"model": "x"}, "m": ["p", "q"]}) == [
        ("cpu.model", "x"),
        ("m", "p, q"),
    ]


def run_report_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    report.register(parser.add_subparsers())
    parsed_arguments = parser.parse_args(["report", *arguments])
    exit_code: int = parsed_arguments.run(parsed_arguments)
    return exit_code


@pytest.mark.parametrize(("verdict", "exit_code"), [(Verdict.PASS, 0), (Verdict.UNSUPPORTED, 1)])
def test_report_command_exit_code(tmp_path: Path, verdict: Verdict, exit_code: int) -> None:
    """
    The exit code is 0 when every pair qualifies, otherwise 1; both report files are written.
    """
    record_files.write_run_record(tmp_path / "in", RUN)
    record_files.write_test_record(tmp_path / "in", TEST.replace_verdict(verdict, ""))
    assert run_report_command(str(tmp_path / "in"), "--out", str(tmp_path / "out")) == exit_code
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        report_folder.VERDICT_FILE,
        report_folder.INDEX_FILE,
    }


def test_report_command_refuses_invalid_record_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An invalid record file gives exit code 2.

    Expected: the error message names the file, and no report is written.
    """
    (tmp_path / "run-x.json").write_text("{")
    assert run_report_command(str(tmp_path), "--out", str(tmp_path / "out")) == 2
    assert "run-x.json: not a complete RunRecord" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
