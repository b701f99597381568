"""Tests of the smoke run: the selection of tests, and the summary."""

from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.model.record import (
    Demand,
    PairName,
    ProfileSnapshot,
    RequirementSummary,
    RunRecord,
    RunTier,
    TestRecord,
)
from migqual.model.smoke_selection import (
    SmokeCandidate,
    choose_tests,
    read_durations,
    render_durations,
)
from migqual.model.verdict import Verdict
from migqual.report import smoke_summary

pytestmark = pytest.mark.selftest

PAIRS = (PairName("a1", "b1"), PairName("a2", "b2"))
RUN = RunRecord(
    id="r",
    started="2026-01-02T03:04:05Z",
    finished="2026-01-02T03:05:05Z",
    profile=ProfileSnapshot("lab", {"LM-X-01": Demand.REQUIRED, "LM-X-02": Demand.OPTIONAL}),
    tier=RunTier.LAB,
    version="1",
    pairs=PAIRS,
    requirements={id_: RequirementSummary(id_, "X") for id_ in ("LM-X-01", "LM-X-02", "LM-X-03")},
)


def make_record(test_id: str, requirement_id: str, verdict: Verdict = Verdict.PASS) -> TestRecord:
    return TestRecord(
        "r", test_id, test_id, "", "X", (requirement_id,), PAIRS[0], verdict, "words", seconds=2
    )


def test_shortest_test_of_each_requirement_is_selected() -> None:
    """
    A smoke run selects the shortest test of each requirement.

    Expected: the selected tests keep the order of collection. A test with an unknown duration
    counts as 60 s.
    """
    candidates = (
        SmokeCandidate("slow", ("LM-A",)),
        SmokeCandidate("unknown", ("LM-A",)),
        SmokeCandidate("quick", ("LM-A",)),
        SmokeCandidate("only", ("LM-B",)),
    )
    selected_tests = choose_tests(candidates, {"slow": 90.0, "quick": 3.0})

    assert [candidate.id for candidate in selected_tests] == ["quick", "only"]
    assert [candidate.id for candidate in choose_tests(candidates[:2], {"slow": 90.0})] == [
        "unknown"
    ]


def test_selected_test_covers_all_its_requirements() -> None:
    """
    If a smoke run selects a test, the run needs no other test for the requirements of this test.

    Preconditions: the test `both` is the only test of LM-B, and also covers LM-A. The test `short`
    covers only LM-A.
    Expected: only `both` is selected, although `short` takes less time.
    """
    candidates = (SmokeCandidate("short", ("LM-A",)), SmokeCandidate("both", ("LM-A", "LM-B")))

    assert [candidate.id for candidate in choose_tests(candidates, {"short": 1.0})] == ["both"]


def test_durations_keep_shortest_and_earlier_values(tmp_path: Path) -> None:
    """
    If a test ran several times in a run, the durations file gets the shortest of its durations.

    Expected: a test that did not run keeps its old duration in the file.
    """
    file = tmp_path / "durations.json"
    file.write_text(render_durations([("a", 3.04), ("a", 2.06)], {"a": 9.0, "b": 1.0}))

    assert read_durations(file) == {"a": 2.1, "b": 1.0}


@pytest.mark.parametrize("text", [None, "", "[1]", '{"a": "x"}', '{"a": null}'])
def test_file_without_durations_is_refused(tmp_path: Path, text: str | None) -> None:
    """The error names the invalid file; the remedy names the command that writes the file."""
    file = tmp_path / "durations.json"
    if text is not None:
        file.write_text(text)

    with pytest.raises(
        UsageError, match=r"durations\.json.*the durations of tests cannot be read"
    ) as caught:
        read_durations(file)
    assert "migqual report --durations" in caught.value.remedy


@pytest.mark.parametrize(
    ("records", "first_line", "expected_pass"),
    [
        (
            [make_record("a", "LM-X-01"), make_record("b", "LM-X-02")],
            "smoke: 2 of 2 requirements",
            True,
        ),
        (
            [make_record("a", "LM-X-01"), make_record("b", "LM-X-02", Verdict.UNSUPPORTED)],
            "    LM-X-02",
            True,
        ),
        ([make_record("a", "LM-X-01", Verdict.UNSUPPORTED)], "  ! LM-X-01", False),
        ([make_record("a", "LM-X-01", Verdict.FAIL)], "  ! LM-X-01", False),
        ([make_record("b", "LM-X-02", Verdict.INCONCLUSIVE)], "  ~ LM-X-02", False),
        ([make_record("a", "LM-X-01", Verdict.NOT_RUN)], "  ! LM-X-01", False),
    ],
    ids=["all", "optional-unsupported", "required-unsupported", "fails", "inconclusive", "not-run"],
)
def test_smoke_summary_states_no_qualification(
    records: list[TestRecord], first_line: str, *, expected_pass: bool
) -> None:
    """
    The summary lists the requirements that did not pass, and does not contain the word QUALIFIED.

    Expected: the first lines list these requirements, one line each. The next line states how many
    requirements passed, and names the tested pairs. The last line has the path of the report.
    The run passes if each tested requirement passed. For an optional requirement, the verdict
    `unsupported` is enough.
    """
    summary_lines = list(smoke_summary.render_smoke_summary(RUN, records, Path("out/index.html")))

    assert summary_lines[0].startswith(first_line)
    assert summary_lines[-1] == "report: out/index.html"
    assert f"of {len(records)} requirements work (pairs: a1 -> b1)" in summary_lines[-2]
    assert "QUALIFIED" not in "\n".join(summary_lines)
    assert smoke_summary.is_smoke_passed(RUN, records) is expected_pass


def test_requirement_on_several_pairs_counts_once() -> None:
    """
    The summary of a smoke run counts a requirement once, even if its tests ran on several pairs.

    Preconditions: tests of the requirement ran on two pairs, and a test failed on the second
    pair.
    Expected: the requirement does not count as passed. The summary names both pairs in the line
    with the number of requirements.
    """
    records = [
        make_record("a", "LM-X-01"),
        replace(make_record("b", "LM-X-01", Verdict.FAIL), pair=PAIRS[1]),
        replace(make_record("c", "LM-X-02"), pair=PAIRS[1]),
    ]
    summary_lines = list(smoke_summary.render_smoke_summary(RUN, records, Path("index.html")))

    assert "smoke: 1 of 2 requirements work (pairs: a1 -> b1, a2 -> b2);" in summary_lines[-2]
    assert not smoke_summary.is_smoke_passed(RUN, records)


def test_smoke_run_without_tests_does_not_pass() -> None:
    """A smoke run without any test result does not pass."""
    assert not smoke_summary.is_smoke_passed(RUN, [])
    assert not smoke_summary.is_smoke_passed(replace(RUN, pairs=()), [])
