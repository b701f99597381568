"""Which tests a smoke run takes, and what it says."""

from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.model.record import (
    Demand,
    PairName,
    ProfileSnapshot,
    RequirementName,
    RunRecord,
    TestRecord,
    Tier,
)
from migqual.model.smoke import Candidate, choose_tests, read_durations, render_durations
from migqual.model.verdict import Verdict
from migqual.report import smoke

pytestmark = pytest.mark.selftest

PAIRS = (PairName("a1", "b1"), PairName("a2", "b2"))
RUN = RunRecord(
    id="r",
    started="2026-01-02T03:04:05Z",
    finished="2026-01-02T03:05:05Z",
    profile=ProfileSnapshot("lab", {"LM-X-01": Demand.REQUIRED, "LM-X-02": Demand.OPTIONAL}),
    tier=Tier.LAB,
    acceleration="tcg",
    version="1",
    pairs=PAIRS,
    requirements={id_: RequirementName(id_, "X") for id_ in ("LM-X-01", "LM-X-02", "LM-X-03")},
)


def record(id_: str, requirement: str, verdict: Verdict = Verdict.PASS) -> TestRecord:
    return TestRecord("r", id_, id_, "", "X", (requirement,), PAIRS[0], verdict, "words", seconds=2)


def test_the_shortest_test_of_each_requirement_is_chosen() -> None:
    """
    Each requirement is shown once, by the shortest test of those that can show it.

    Expected: the order of collection stays; a test without a known time counts as a minute.
    """
    candidates = (
        Candidate("slow", ("LM-A",)),
        Candidate("unknown", ("LM-A",)),
        Candidate("quick", ("LM-A",)),
        Candidate("only", ("LM-B",)),
    )
    chosen = choose_tests(candidates, {"slow": 90.0, "quick": 3.0})

    assert [one.id for one in chosen] == ["quick", "only"]
    assert [one.id for one in choose_tests(candidates[:2], {"slow": 90.0})] == ["unknown"]


def test_a_test_that_runs_anyway_serves_its_other_requirements() -> None:
    """No second test is taken for a requirement that a chosen one shows too."""
    candidates = (Candidate("short", ("LM-A",)), Candidate("both", ("LM-A", "LM-B")))

    assert [one.id for one in choose_tests(candidates, {"short": 1.0})] == ["both"]


def test_durations_keep_what_they_know(tmp_path: Path) -> None:
    """The shortest of a run's times is taken; what the run did not have stays."""
    file = tmp_path / "durations.json"
    file.write_text(render_durations([("a", 3.04), ("a", 2.06)], {"a": 9.0, "b": 1.0}))

    assert read_durations(file) == {"a": 2.1, "b": 1.0}


@pytest.mark.parametrize("text", [None, "", "[1]", '{"a": "x"}', '{"a": null}'])
def test_a_file_without_durations_is_bad_input(tmp_path: Path, text: str | None) -> None:
    """The error names the file and the command that makes it."""
    file = tmp_path / "durations.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UsageError, match=r"durations\.json.*no durations") as caught:
        read_durations(file)
    assert "migqual report --durations" in caught.value.remedy


@pytest.mark.parametrize(
    ("records", "first", "good"),
    [
        ([record("a", "LM-X-01"), record("b", "LM-X-02")], "smoke: 2 of 2 rows", True),
        (
            [record("a", "LM-X-01"), record("b", "LM-X-02", Verdict.UNSUPPORTED)],
            "    LM-X-02",
            True,
        ),
        ([record("a", "LM-X-01", Verdict.UNSUPPORTED)], "  ! LM-X-01", False),
        ([record("a", "LM-X-01", Verdict.FAIL)], "  ! LM-X-01", False),
        ([record("b", "LM-X-02", Verdict.INCONCLUSIVE)], "  ~ LM-X-02", False),
        ([record("a", "LM-X-01", Verdict.NOT_RUN)], "  ! LM-X-01", False),
    ],
    ids=["all", "may lack", "must have", "fails", "inconclusive", "never started"],
)
def test_a_smoke_run_tells_rows_and_qualifies_nobody(
    records: list[TestRecord], first: str, *, good: bool
) -> None:
    """
    Rows that were not seen working come first, then the count, then the report's path.

    Expected: only what the profile lets a host lack may be missing; the word of a qualification is
    nowhere; rows and pairs without a chosen test are no part of the count.
    """
    told = list(smoke.lines(RUN, records, Path("out/index.html")))

    assert told[0].startswith(first)
    assert told[-1] == "report: out/index.html"
    assert f"of {len(records)} rows seen working on a1 -> b1" in told[-2]
    assert "QUALIFIED" not in "\n".join(told)
    assert smoke.works(RUN, records) is good


def test_rows_of_several_pairs_are_counted_once() -> None:
    """
    Preconditions: tests of one requirement ran on two pairs, and failed on one of them.
    Expected: it was not seen working; the sentence names both pairs.
    """
    records = [
        record("a", "LM-X-01"),
        replace(record("b", "LM-X-01", Verdict.FAIL), pair=PAIRS[1]),
        replace(record("c", "LM-X-02"), pair=PAIRS[1]),
    ]
    told = list(smoke.lines(RUN, records, Path("index.html")))

    assert "smoke: 1 of 2 rows seen working on one of a1 -> b1, a2 -> b2;" in told[-2]
    assert not smoke.works(RUN, records)


def test_nothing_seen_is_no_success() -> None:
    """A smoke run in which no test ran shows nothing."""
    assert not smoke.works(RUN, [])
    assert not smoke.works(replace(RUN, pairs=()), [])
