"""Tests of the verdict rules: from tests to requirements to pairs."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from migqual.model.record import (
    GUESTS_FACT,
    Demand,
    ProfileSnapshot,
    RunRecord,
    TestRecord,
)
from migqual.model.run_result import RunResult
from migqual.model.stack_message import StackMessage
from migqual.model.verdict import Verdict, find_worst_verdict
from migqual.report.qualification import (
    build_verdict_json,
    judge_pairs,
    judge_run,
)
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


def test_worst_verdict_of_no_tests_is_not_run() -> None:
    """Without any test, the verdict is `not-run`."""
    assert find_worst_verdict([]) is Verdict.NOT_RUN


@pytest.mark.parametrize(
    "bad_verdict",
    [verdict for verdict in Verdict if verdict not in {Verdict.PASS, Verdict.WITHHELD}],
)
def test_worst_test_decides_requirement_and_pair(bad_verdict: Verdict) -> None:
    """
    The verdict of a requirement is the worst verdict of the tests, with the reason of the worst
    test.
    """
    records = [
        make_test(Verdict.PASS, FIRST_ID, test_id="a"),
        make_test(bad_verdict, FIRST_ID, test_id="b"),
    ]
    (result,) = judge_pairs(make_run(FIRST_REQUIRED), records)
    assert result.requirements[0].verdict is bad_verdict
    assert result.requirements[0].reason == f"why {bad_verdict}"
    assert not result.is_qualified


@pytest.mark.parametrize(
    ("beyond_requirement_verdict", "expected_verdict"),
    [
        (Verdict.PASS, Verdict.PASS),
        (Verdict.UNSUPPORTED, Verdict.PASS),
        (Verdict.NOT_RUN, Verdict.NOT_RUN),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_unsupported_test_beyond_requirement_does_not_decide(
    beyond_requirement_verdict: Verdict, expected_verdict: Verdict
) -> None:
    """A test with the marker `beyond_requirement` counts, except with the verdict `unsupported`.

    The marker is for a test that shows more than the requirement states. The worst verdict of the
    tests that count is the verdict of the requirement.
    """
    beyond_requirement_test = replace(
        make_test(beyond_requirement_verdict, FIRST_ID, test_id="b"), beyond_requirement=True
    )
    (result,) = judge_pairs(
        make_run(FIRST_REQUIRED),
        [make_test(Verdict.PASS, FIRST_ID, test_id="a"), beyond_requirement_test],
    )
    assert result.requirements[0].verdict is expected_verdict


@pytest.mark.parametrize(
    ("other_verdict", "expected_verdict"),
    [
        (Verdict.PASS, Verdict.PASS),
        (Verdict.UNSUPPORTED, Verdict.WITHHELD),
        (Verdict.NOT_RUN, Verdict.NOT_RUN),
        (Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_withheld_test_decides_unless_another_test_passed(
    other_verdict: Verdict, expected_verdict: Verdict
) -> None:
    """A withheld test does not count if another test of the requirement passes.

    A withheld test did not run, because its fault could harm other users of a host. The worst
    verdict of the tests that count is the verdict of the requirement.
    """
    records = [
        make_test(Verdict.WITHHELD, FIRST_ID, test_id="a"),
        make_test(other_verdict, FIRST_ID, test_id="b"),
    ]
    (result,) = judge_pairs(make_run(FIRST_REQUIRED), records)

    assert result.requirements[0].verdict is expected_verdict
    assert result.is_qualified is (expected_verdict is Verdict.PASS)


def test_requirement_with_withheld_tests_only_does_not_qualify() -> None:
    (result,) = judge_pairs(make_run(FIRST_REQUIRED), [make_test(Verdict.WITHHELD, FIRST_ID)])

    assert result.requirements[0].verdict is Verdict.WITHHELD
    assert not result.is_qualified


def test_single_test_beyond_requirement_decides() -> None:
    """
    If the only test of a requirement has the marker `beyond_requirement`, this test decides.

    Preconditions: the verdict of the test is `unsupported`.
    Expected: the verdict of the requirement is `unsupported`.
    """
    beyond_requirement_test = replace(
        make_test(Verdict.UNSUPPORTED, FIRST_ID), beyond_requirement=True
    )
    (result,) = judge_pairs(make_run(FIRST_REQUIRED), [beyond_requirement_test])
    assert result.requirements[0].verdict is Verdict.UNSUPPORTED
    assert not result.is_qualified


def test_pair_qualifies_when_all_required_pass() -> None:
    """A pair qualifies when all required requirements pass; one test may cover several of them."""
    (result,) = judge_pairs(make_run(BOTH_REQUIRED), [make_test(Verdict.PASS, FIRST_ID, SECOND_ID)])
    assert result.is_qualified
    assert not result.reservations


@pytest.mark.parametrize("demand", [Demand.OPTIONAL, Demand.ABSENT])
@pytest.mark.parametrize(
    ("verdict", "has_reservation"),
    [
        (Verdict.PASS, False),
        (Verdict.UNSUPPORTED, False),
        (Verdict.NOT_RUN, False),
        (Verdict.INCONCLUSIVE, True),
        (Verdict.FAIL, True),
    ],
)
def test_optional_failure_is_a_reservation(
    demand: Demand, verdict: Verdict, *, has_reservation: bool
) -> None:
    """A requirement with the demand `optional` or `absent` does not prevent the qualification.

    The demand is from the profile. With `absent`, the hosts are not expected to have the feature.
    If the requirement is `fail` or `inconclusive`, the report lists the requirement as a
    reservation (a note that does not prevent the qualification).
    """
    run = make_run({FIRST_ID: Demand.REQUIRED, SECOND_ID: demand})
    (result,) = judge_pairs(
        run, [make_test(Verdict.PASS, FIRST_ID), make_test(verdict, SECOND_ID, test_id="o")]
    )
    assert result.is_qualified
    assert bool(result.reservations) is has_reservation


@pytest.mark.parametrize("is_known", [True, False], ids="known={}".format)
def test_unknown_message_is_a_reservation(*, is_known: bool) -> None:
    """A requirement can pass although libvirt or QEMU gave an unknown message.

    `fixtures/stack_messages.yml` lists the known messages. The report lists an unknown message as a
    reservation (a note that does not prevent the qualification).
    """
    message = StackMessage("no-space", "disk quota exceeded", is_known=is_known)
    record = replace(make_test(Verdict.PASS, FIRST_ID), stack_messages=(message,))
    (result,) = judge_pairs(make_run(FIRST_REQUIRED), [record])
    (requirement,) = [row for row in result.requirements if row.id == FIRST_ID]
    assert not requirement.is_unmet
    assert requirement.is_reservation is not is_known
    assert ("disk quota exceeded" in requirement.reservation) is not is_known


def test_requirement_missing_in_profile_is_required() -> None:
    """A requirement without an entry in the profile is required."""
    (result,) = judge_pairs(
        make_run({FIRST_ID: Demand.REQUIRED}), [make_test(Verdict.PASS, FIRST_ID)]
    )
    assert [requirement.id for requirement in result.unmet_requirements] == [SECOND_ID]


def test_requirement_missing_in_table_still_counts() -> None:
    """
    A requirement that is missing in the requirements table of the run still counts.

    Preconditions: LM-NEW-01 is only in the profile. LM-OLD-01 is only in the result of a test.
    Expected: LM-NEW-01 is not-run. LM-OLD-01 has the verdict of the test.
    """
    run = make_run({**FIRST_REQUIRED, "LM-NEW-01": Demand.REQUIRED})
    records = [make_test(Verdict.PASS, FIRST_ID), make_test(Verdict.FAIL, "LM-OLD-01", test_id="x")]
    (result,) = judge_pairs(run, records)
    assert {requirement.id: requirement.verdict for requirement in result.unmet_requirements} == {
        "LM-NEW-01": Verdict.NOT_RUN,
        "LM-OLD-01": Verdict.FAIL,
    }


@pytest.mark.parametrize(
    "make_incomplete",
    [
        lambda run, _: (run, ()),
        lambda run, tests: (replace(run, finished=None), tests),
        lambda run, tests: (replace(run, pairs=(PAIR, OTHER_PAIR)), tests),
        lambda run, _: (replace(run, pairs=()), ()),
        lambda run, tests: (
            run,
            (*tests, make_test(Verdict.NOT_RUN, FIRST_ID, pair=None, test_id="u")),
        ),
        lambda run, tests: (
            replace(
                run, profile=ProfileSnapshot("x", dict.fromkeys(BOTH_REQUIRED, Demand.OPTIONAL))
            ),
            tests,
        ),
    ],
    ids=[
        "no-records",
        "unfinished",
        "pair-without-tests",
        "no-pair",
        "test-without-pair",
        "nothing-demanded",
    ],
)
def test_incomplete_run_never_qualifies(
    make_incomplete: Callable[
        [RunRecord, tuple[TestRecord, ...]], tuple[RunRecord, tuple[TestRecord, ...]]
    ],
) -> None:
    """An incomplete run does not qualify, for example a run without an end or without tests."""
    run, records = make_run(BOTH_REQUIRED), (make_test(Verdict.PASS, FIRST_ID, SECOND_ID),)
    assert judge_run(judge_pairs(run, records)) is RunResult.QUALIFIED
    assert judge_run(judge_pairs(*make_incomplete(run, records))) is not RunResult.QUALIFIED


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.PASS, Verdict.PASS), RunResult.QUALIFIED),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), RunResult.INCONCLUSIVE),
        ((Verdict.PASS, Verdict.NOT_RUN), RunResult.INCONCLUSIVE),
        ((Verdict.PASS, Verdict.WITHHELD), RunResult.INCONCLUSIVE),
        ((Verdict.INCONCLUSIVE, Verdict.FAIL), RunResult.NOT_QUALIFIED),
        ((Verdict.PASS, Verdict.UNSUPPORTED), RunResult.NOT_QUALIFIED),
    ],
)
def test_result_and_exit_code_tell_bad_hosts_from_a_bad_night(
    verdicts: tuple[Verdict, Verdict], expected: RunResult
) -> None:
    """The verdicts `fail` and `unsupported` of a required requirement mean `not qualified`.

    Without these two verdicts, the verdicts `inconclusive`, `not-run` and `withheld` of a required
    requirement mean `inconclusive`. The exit code follows from the result.
    """
    run = make_run(BOTH_REQUIRED)
    records = [
        make_test(verdict, id_, test_id=id_)
        for id_, verdict in zip((FIRST_ID, SECOND_ID), verdicts, strict=True)
    ]

    verdict_json = build_verdict_json(run, records)

    assert judge_run(judge_pairs(run, records)) is expected
    assert (verdict_json["result"], verdict_json["exit_code"]) == (expected, expected.exit_code)
    assert verdict_json["pairs"][0]["result"] == expected


def test_failed_pair_decides_over_an_inconclusive_pair() -> None:
    run = make_run(FIRST_REQUIRED, pairs=(PAIR, OTHER_PAIR))
    records = [
        make_test(Verdict.INCONCLUSIVE, FIRST_ID),
        make_test(Verdict.FAIL, FIRST_ID, pair=OTHER_PAIR),
    ]

    assert judge_run(judge_pairs(run, records)) is RunResult.NOT_QUALIFIED


@pytest.mark.parametrize(
    ("accelerations", "expected", "is_qualified"),
    [
        (["kvm", "kvm"], "kvm", True),
        (["tcg", "tcg"], "", True),
        (["tcg", "tcg"], "kvm", False),
        (["kvm", "tcg"], "kvm", False),
        ([], "kvm", False),
    ],
)
def test_run_with_another_acceleration_than_expected_does_not_qualify(
    accelerations: list[str], expected: str, *, is_qualified: bool
) -> None:
    """A run qualifies only if all observed guests used the expected acceleration.

    If an acceleration is expected, the run also needs at least one observed guest. If `expected` is
    empty, every acceleration is allowed.
    """
    facts = {f"{GUESTS_FACT}{n}": {"acceleration": one} for n, one in enumerate(accelerations)}
    run = replace(make_run(FIRST_REQUIRED), environment=facts, expected_acceleration=expected)

    (result,) = judge_pairs(run, [make_test(Verdict.PASS, FIRST_ID)])

    assert result.is_qualified is is_qualified
    assert is_qualified or any(expected in reason for reason in result.blocking_reasons)


def test_pairs_are_judged_separately() -> None:
    """A failure on one pair has no effect on the result of another pair."""
    run = make_run(BOTH_REQUIRED, pairs=(PAIR, OTHER_PAIR))
    records = [
        make_test(Verdict.PASS, FIRST_ID, SECOND_ID),
        make_test(Verdict.FAIL, FIRST_ID, SECOND_ID, pair=OTHER_PAIR),
    ]
    assert [result.is_qualified for result in judge_pairs(run, records)] == [True, False]
