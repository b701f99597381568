"""The merge of several runs: one record, and every test counts."""

from dataclasses import replace

import pytest

from migqual.errors import UsageError
from migqual.model.record import ProfileSnapshot, RunRecord, RunTier
from migqual.model.run_result import RunResult
from migqual.model.verdict import Verdict
from migqual.report.merged_run import merge_runs
from migqual.report.qualification import judge_pairs
from suites.selftest.support.verdict_records import (
    BOTH_REQUIRED,
    FIRST_ID,
    FIRST_REQUIRED,
    OTHER_PAIR,
    PAIR,
    SECOND_ID,
    make_run,
    make_test,
)

pytestmark = pytest.mark.selftest


def test_runs_of_two_machines_are_merged() -> None:
    """The merged run has the pairs of both runs, the first start and the last end."""
    first_run = replace(make_run(BOTH_REQUIRED), environment={"host a1": {"qemu": "7.2"}})
    second_run = replace(
        first_run,
        id="r2",
        pairs=(OTHER_PAIR,),
        started="2026-01-01T00:00:00Z",
        environment={"host a1": {"qemu": "10.0"}},
    )
    merged_run = merge_runs([first_run, second_run])
    assert merged_run.pairs == (PAIR, OTHER_PAIR)
    assert merged_run.started == "2026-01-01T00:00:00Z"
    assert merged_run.finished == first_run.finished
    assert merged_run.environment == {"host a1": {"qemu": "7.2"}, "host a1 (r2)": {"qemu": "10.0"}}


def test_merged_run_is_finished_only_when_all_runs_are() -> None:
    """If one of the runs is unfinished, the merged run is unfinished."""
    finished_run = make_run(BOTH_REQUIRED)
    assert (
        merge_runs([finished_run, replace(finished_run, id="r2", finished=None)]).finished is None
    )


def test_two_runs_of_a_pair_both_count() -> None:
    """A later pass does not replace an earlier failure."""
    run = make_run(BOTH_REQUIRED)
    second_test = replace(make_test(Verdict.PASS, FIRST_ID, SECOND_ID), run="r2")
    (result,) = judge_pairs(
        merge_runs([run, replace(run, id="r2")]),
        [make_test(Verdict.FAIL, FIRST_ID, SECOND_ID), second_test],
    )
    assert result.requirements[0].verdict is Verdict.FAIL
    assert len(result.requirements[0].tests) == 2


@pytest.mark.parametrize(
    ("field", "other_run"),
    [
        ("profile", replace(make_run(BOTH_REQUIRED), profile=ProfileSnapshot("upstream"))),
        ("tier", replace(make_run(BOTH_REQUIRED), tier=RunTier.REAL)),
        ("requirements", replace(make_run(BOTH_REQUIRED), requirements={})),
    ],
)
def test_runs_with_different_profile_or_tier_do_not_merge(field: str, other_run: RunRecord) -> None:
    """Runs are merged only if their profiles, tiers and requirements are the same."""
    with pytest.raises(UsageError, match=f"differ in the {field}"):
        merge_runs([make_run(BOTH_REQUIRED), other_run])


def test_merge_without_runs_is_refused() -> None:
    """A merge without any run is a usage error, not a success."""
    with pytest.raises(UsageError, match="no record of a run"):
        merge_runs([])


def test_part_of_the_suites_does_not_qualify() -> None:
    """
    A run that left tests out does not qualify a pair, although every test that ran passed.

    Preconditions: the run left out two tests, `test_a[nbd]` and `test_b`. Then the results of a
    second run are added: first `test_a[nbd]`, later also `test_b`. Another pair has only a result
    of `test_b`.
    Expected: without the second run, the pair is inconclusive, and the reason states that two tests
    were left out. When only `test_a[nbd]` is added, the pair is still inconclusive. When both
    results are added, the pair qualifies. The other pair is inconclusive.
    """
    run = replace(make_run(FIRST_REQUIRED), left_out=("f.py::test_a[nbd]", "f.py::test_b"))
    records = [make_test(Verdict.PASS, FIRST_ID, test_id="f.py::test_a[raw]")]
    (result,) = judge_pairs(run, records)

    assert result.result is RunResult.INCONCLUSIVE
    assert "2 tests were left out, for example f.py::test_a[nbd]" in result.missing_results[0]

    other_run = replace(make_run(FIRST_REQUIRED), id="r2")
    merged_run = merge_runs([run, other_run])
    records.append(make_test(Verdict.PASS, FIRST_ID, test_id="f.py::test_a[nbd]"))
    (result,) = judge_pairs(merged_run, records)
    assert result.result is RunResult.INCONCLUSIVE

    records.append(make_test(Verdict.PASS, FIRST_ID, test_id="f.py::test_b[qcow2]"))
    (result,) = judge_pairs(merged_run, records)
    assert result.result is RunResult.QUALIFIED

    records.append(make_test(Verdict.PASS, FIRST_ID, pair=OTHER_PAIR, test_id="f.py::test_b"))
    assert judge_pairs(merged_run, records)[1].result is RunResult.INCONCLUSIVE
