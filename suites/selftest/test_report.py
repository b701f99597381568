"""The certificate, the terminal table, the charts, the command."""

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
    RequirementName,
    RunRecord,
    TestRecord,
    Tier,
)
from migqual.model.verdict import Verdict
from migqual.report import folder, publish, terminal
from migqual.report.certificate import duration, figure, flat, instant, render
from migqual.report.charts import Scale, charts, nice_step

pytestmark = pytest.mark.selftest

HOSTILE = '"><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)>{{ 7 * 7 }}'
PAIR = PairName("a1", "b1")
RUN = RunRecord(
    id="r1",
    started="2026-01-02T03:04:05.678Z",
    finished="2026-01-02T03:05:05Z",
    profile=ProfileSnapshot("lab", {"LM-CAP-01": Demand.REQUIRED, "LM-TLS-01": Demand.OPTIONAL}),
    tier=Tier.LAB,
    acceleration="tcg",
    version="1",
    pairs=(PAIR,),
    requirements={
        "LM-CAP-01": RequirementName("A guest moves", "Capabilities"),
        "LM-TLS-01": RequirementName("Certificates are set", "Encryption"),
    },
    environment={"host a1": {"qemu": "7.2.15"}},
)
FIGURES = {"downtime_qemu_ms": 40.0, "downtime_libvirt_ms": 44.0, "gap_max_ms": 61.0}
TEST = TestRecord(
    "r1",
    "suites/x.py::test_y",
    "It moves",
    "",
    "Capabilities",
    ("LM-CAP-01",),
    PAIR,
    Verdict.PASS,
    migrations=(MigrationRecord({}, "virsh migrate --live g1", FIGURES),),
)


def parsed(page: str) -> Any:  # noqa: ANN401 - the stubs know little of lxml.html
    return html.document_fromstring(page)


def words(page: str) -> str:
    return " ".join(parsed(page).text_content().split())


def test_the_page_says_the_verdict_in_words() -> None:
    """Colour alone would be lost on paper and on some readers."""
    assert "✓ Qualified" in words(render(RUN, [TEST]))
    failed = words(render(RUN, [TEST.judged(Verdict.FAIL, "a page was lost")]))
    assert "✗ Not qualified" in failed
    assert "a page was lost" in failed


def test_the_page_shows_command_figures_and_what_did_not_run() -> None:
    """The three clocks side by side, and the command to repeat it by hand."""
    text = words(render(RUN, [TEST]))
    assert re.search(r"completed — 40 44 61 — virsh migrate --live g1", text)
    assert re.search(r"Not run .* LM-TLS-01 Certificates are set \(optional\)", text)
    assert "7.2.15" in text


def hostile_page() -> str:
    run = replace(
        RUN,
        id=HOSTILE,
        acceleration=HOSTILE,
        profile=replace(RUN.profile, name=HOSTILE, thresholds={HOSTILE: HOSTILE}),
        pairs=(PairName(HOSTILE, HOSTILE),),
        requirements={"LM-CAP-01": RequirementName(HOSTILE, HOSTILE)},
        environment={HOSTILE: {HOSTILE: [HOSTILE]}},
    )
    record = replace(
        TEST,
        id=HOSTILE,
        title=HOSTILE,
        pair=run.pairs[0],
        verdict=Verdict.FAIL,
        reason=HOSTILE,
        migrations=(
            MigrationRecord({}, HOSTILE, FIGURES, HOSTILE, HOSTILE),
            MigrationRecord({}, HOSTILE, FIGURES),
        ),
        attachments=(Attachment(HOSTILE, HOSTILE, HOSTILE),),
    )
    return render(run, [record])


def test_hostile_words_stay_words() -> None:
    """Logs and host names come from machines under test."""
    page = parsed(hostile_page())
    assert not page.xpath("//script | //img | //iframe | //object | //embed")
    assert not page.xpath("//@*[starts-with(name(), 'on')]")
    assert "{{ 7 * 7 }}" in page.text_content()


@pytest.mark.parametrize("page", [render(RUN, [TEST]), hostile_page()], ids=["plain", "hostile"])
def test_the_page_loads_nothing(page: str) -> None:
    """It must work offline, and tell nobody that it was opened."""
    tree = parsed(page)
    assert not tree.xpath("//@src | //@href | //@*[name()='xlink:href'] | //link | //base | //form")
    assert not re.search(r"url\(|@import", "".join(tree.xpath("//style/text()")))
    assert tree.xpath("//meta[contains(@content, \"default-src 'none'\")]")


def test_a_page_of_nothing_is_still_a_page() -> None:
    """A run that died at once is reported like any other."""
    text = words(render(replace(RUN, pairs=(), finished=None), []))
    assert "✗ Not qualified" in text
    assert "No pair was tested" in text


def test_the_terminal_ends_with_verdict_counts_and_path() -> None:
    """The last lines are what a person and a CI log look at."""
    lines = list(terminal.lines(RUN, [TEST.judged(Verdict.FAIL, "lost\na page")], Path("/r.html")))
    assert "  ! LM-CAP-01    fail         required  1 test    lost a page" in lines
    assert lines[-3:] == [
        "verdict: NOT QUALIFIED: 0 of 1 pairs qualify under profile lab",
        "counts:  requirements 2 (1 not-run, 1 fail); tests 1 (1 fail); migrations 1",
        "report:  /r.html",
    ]


def test_charts_hold_every_completed_migration_and_the_median() -> None:
    """A failed migration has no downtime worth a point."""
    figures = [{"gap_max_ms": value} for value in (10.0, 20.0, 60.0)]
    migrations = [MigrationRecord({}, "", figure_) for figure_ in figures]
    migrations.append(MigrationRecord({}, "", {"gap_max_ms": 999.0}, outcome="failed"))
    (chart,) = charts([replace(TEST, migrations=tuple(migrations))])
    (row,) = chart.rows
    assert row.median == 20.0
    assert [round(mark.x, 1) for mark in row.marks] == [
        Scale.over([10, 60]).x(v) for v in (10, 20, 60)
    ]


def test_ways_of_sending_stand_side_by_side() -> None:
    """The price of encryption: one row for each way, from the tests that compare them alone."""
    plans: list[dict[str, object]] = [{}, {"tls": True}, {"tls": True, "channels": 4}]
    migrations = tuple(
        MigrationRecord(plan, "", {"throughput_avg_mib_s": 100.0 + number})
        for number, plan in enumerate(plans)
    )
    price = replace(TEST, requirements=("LM-TLS-05",), migrations=migrations)
    other = replace(TEST, migrations=migrations)

    drawn = {chart.title: chart for chart in charts([price, other])}

    chart = drawn["Price of encryption: throughput"]
    assert [row.label for row in chart.rows] == [
        *("average · TLS", "average · TLS, 4 channels", "average · plain")
    ]
    assert [len(row.marks) for row in chart.rows] == [1, 1, 1]


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
def test_every_value_lies_within_its_scale(values: list[float], *, logarithmic: bool) -> None:
    """Zero, one value, and a stall of minutes among moments."""
    scale = Scale.over(values)
    ends = [scale.x(tick) for tick in scale.ticks()]
    assert scale.logarithmic is logarithmic
    assert all(ends[0] <= scale.x(value) <= ends[-1] for value in values)
    assert 2 <= len(ends) <= 12


@pytest.mark.parametrize(("most", "step"), [(0, 1), (1, 0.2), (4, 1), (9, 2), (97, 20), (450, 100)])
def test_steps_are_round(most: float, step: float) -> None:
    """1, 2 or 5 times a power of ten."""
    assert nice_step(most) == pytest.approx(step)


def test_words_for_figures() -> None:
    """Three digits, UTC spelled out, nested provenance as lines."""
    assert [figure(value) for value in (None, 0.0, 41.26, 1234.5)] == ["—", "0", "41.3", "1,234"]
    assert instant("2026-01-02T03:04:05.678Z") == "2026-01-02 03:04:05 UTC"
    assert [instant(None), instant("noon")] == ["never", "noon"]
    assert [duration(3.14), duration(125)] == ["3.1 s", "2 min 5 s"]
    assert flat({"cpu": {"model": "x"}, "m": ["p", "q"]}) == [("cpu.model", "x"), ("m", "p, q")]


def run_command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    report.register(parser.add_subparsers())
    chosen = parser.parse_args(["report", *arguments])
    code: int = chosen.run(chosen)
    return code


@pytest.mark.parametrize(("found", "code"), [(Verdict.PASS, 0), (Verdict.UNSUPPORTED, 1)])
def test_the_command_tells_the_verdict_by_its_exit_code(
    tmp_path: Path, found: Verdict, code: int
) -> None:
    """0 when every pair qualifies, 1 when one does not; both files are written."""
    folder.write_run(tmp_path / "in", RUN)
    folder.write_test(tmp_path / "in", TEST.judged(found, ""))
    assert run_command(str(tmp_path / "in"), "--out", str(tmp_path / "out")) == code
    assert {file.name for file in (tmp_path / "out").iterdir()} == {publish.VERDICT, publish.INDEX}


def test_bad_input_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the file named, nothing written."""
    (tmp_path / "run-x.json").write_text("{")
    assert run_command(str(tmp_path), "--out", str(tmp_path / "out")) == 2
    assert "run-x.json: not a whole RunRecord" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
