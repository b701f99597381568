"""The rules from tests to requirements to pairs."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from migqual.errors import UsageError
from migqual.model.record import (
    Demand,
    MigrationRecord,
    PairName,
    ProfileSnapshot,
    RequirementName,
    RunRecord,
    TestRecord,
    Tier,
)
from migqual.model.verdict import Verdict, worst
from migqual.report.judge import judge, merge, qualifies, verdict

pytestmark = pytest.mark.selftest

PAIR = PairName("a1", "b1")
OTHER = PairName("a2", "b2")
ONE, TWO = "LM-CAP-01", "LM-CAP-02"


def make_run(demands: Mapping[str, Demand], *, pairs: tuple[PairName, ...] = (PAIR,)) -> RunRecord:
    return RunRecord(
        id="r1",
        started="2026-01-02T03:04:05Z",
        finished="2026-01-02T03:05:05Z",
        profile=ProfileSnapshot("lab", demands),
        tier=Tier.LAB,
        acceleration="tcg",
        version="1",
        pairs=pairs,
        requirements={ONE: RequirementName("one", "Caps"), TWO: RequirementName("two", "Caps")},
    )


def make_test(
    verdict: Verdict, *ids: str, pair: PairName | None = PAIR, name: str = "t"
) -> TestRecord:
    return TestRecord("r1", name, "title", "", "Caps", ids, pair, verdict, reason=f"why {verdict}")


BOTH = {ONE: Demand.REQUIRED, TWO: Demand.REQUIRED}
FIRST = {ONE: Demand.REQUIRED, TWO: Demand.OPTIONAL}


def test_the_worst_of_none_is_not_run() -> None:
    """Nothing known is never something good."""
    assert worst([]) is Verdict.NOT_RUN


@pytest.mark.parametrize("bad", [v for v in Verdict if v is not Verdict.PASS])
def test_one_bad_test_decides_its_requirement_and_its_pair(bad: Verdict) -> None:
    """A requirement's verdict is the worst of its tests, with that test's reason."""
    records = [make_test(Verdict.PASS, ONE, name="a"), make_test(bad, ONE, name="b")]
    (result,) = judge(make_run(FIRST), records)
    assert result.requirements[0].verdict is bad
    assert result.requirements[0].reason == f"why {bad}"
    assert not result.qualified


@pytest.mark.parametrize(
    ("extra", "verdict"),
    [
        (Verdict.PASS, Verdict.PASS),
        (Verdict.UNSUPPORTED, Verdict.PASS),
        (Verdict.NOT_RUN, Verdict.NOT_RUN),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        (Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_an_extra_that_the_host_lacks_does_not_decide(extra: Verdict, verdict: Verdict) -> None:
    """But one that it has, and that goes wrong, does."""
    more = replace(make_test(extra, ONE, name="b"), extra=True)
    (result,) = judge(make_run(FIRST), [make_test(Verdict.PASS, ONE, name="a"), more])
    assert result.requirements[0].verdict is verdict


def test_an_extra_alone_decides_like_any_other() -> None:
    """Else a requirement of which nothing was shown would pass."""
    alone = replace(make_test(Verdict.UNSUPPORTED, ONE), extra=True)
    (result,) = judge(make_run(FIRST), [alone])
    assert result.requirements[0].verdict is Verdict.UNSUPPORTED
    assert not result.qualified


def test_a_pair_qualifies_when_all_that_is_demanded_passes() -> None:
    """One test may show several requirements."""
    (result,) = judge(make_run(BOTH), [make_test(Verdict.PASS, ONE, TWO)])
    assert result.qualified
    assert not result.reservations


@pytest.mark.parametrize("demand", [Demand.OPTIONAL, Demand.ABSENT])
@pytest.mark.parametrize(
    ("found", "reserved"),
    [
        (Verdict.PASS, False),
        (Verdict.UNSUPPORTED, False),
        (Verdict.NOT_RUN, False),
        (Verdict.INCONCLUSIVE, True),
        (Verdict.FAIL, True),
    ],
)
def test_what_is_not_demanded_never_decides_but_is_not_hushed_up(
    demand: Demand, found: Verdict, *, reserved: bool
) -> None:
    """An optional failure leaves the pair qualified, with a reservation."""
    run = make_run({ONE: Demand.REQUIRED, TWO: demand})
    (result,) = judge(run, [make_test(Verdict.PASS, ONE), make_test(found, TWO, name="o")])
    assert result.qualified
    assert bool(result.reservations) is reserved


def test_a_requirement_that_the_profile_forgets_is_demanded() -> None:
    """Forgetting one in a profile must not let a host through."""
    (result,) = judge(make_run({ONE: Demand.REQUIRED}), [make_test(Verdict.PASS, ONE)])
    assert [missed.id for missed in result.missed] == [TWO]


def test_a_requirement_that_only_the_profile_or_a_test_knows_still_counts() -> None:
    """What the table lost is not-run or as bad as its test, never gone."""
    run = make_run({**FIRST, "LM-NEW-01": Demand.REQUIRED})
    records = [make_test(Verdict.PASS, ONE), make_test(Verdict.FAIL, "LM-OLD-01", name="x")]
    (result,) = judge(run, records)
    assert {missed.id: missed.verdict for missed in result.missed} == {
        "LM-NEW-01": Verdict.NOT_RUN,
        "LM-OLD-01": Verdict.FAIL,
    }


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run, _: (run, ()),
        lambda run, tests: (replace(run, finished=None), tests),
        lambda run, tests: (replace(run, pairs=(PAIR, OTHER)), tests),
        lambda run, _: (replace(run, pairs=()), ()),
        lambda run, tests: (run, (*tests, make_test(Verdict.NOT_RUN, ONE, pair=None, name="u"))),
        lambda run, tests: (
            replace(run, profile=ProfileSnapshot("x", dict.fromkeys(BOTH, Demand.OPTIONAL))),
            tests,
        ),
    ],
    ids=["no-records", "unfinished", "idle-pair", "no-pair", "no-pair-yet", "nothing-demanded"],
)
def test_what_was_not_seen_to_work_never_qualifies(
    spoil: Callable[[RunRecord, tuple[TestRecord, ...]], tuple[RunRecord, tuple[TestRecord, ...]]],
) -> None:
    """Each spoils a run that qualifies."""
    run, records = make_run(BOTH), (make_test(Verdict.PASS, ONE, TWO),)
    assert qualifies(judge(run, records))
    assert not qualifies(judge(*spoil(run, records)))


def test_pairs_are_judged_apart() -> None:
    """A failure on one pair says nothing about another."""
    run = make_run(BOTH, pairs=(PAIR, OTHER))
    records = [make_test(Verdict.PASS, ONE, TWO), make_test(Verdict.FAIL, ONE, TWO, pair=OTHER)]
    assert [result.qualified for result in judge(run, records)] == [True, False]


def test_the_verdict_has_the_documented_form() -> None:
    """Key for key; every requirement is there, also without a test."""
    migration = MigrationRecord({"channels": 2}, "virsh migrate g", {"gap_max_ms": None})
    record = replace(make_test(Verdict.PASS, ONE), seconds=1.23456, migrations=(migration,))
    assert verdict(make_run(FIRST), [record]) == {
        "format": 1,
        "run": {
            "id": "r1",
            "started": "2026-01-02T03:04:05Z",
            "finished": "2026-01-02T03:05:05Z",
            "profile": "lab",
            "tier": "lab",
            "acceleration": "tcg",
            "version": "1",
        },
        "pairs": [
            {
                "source": "a1",
                "destination": "b1",
                "qualified": True,
                "requirements": {
                    ONE: {
                        "verdict": "pass",
                        "tests": [
                            {"id": "t", "verdict": "pass", "reason": "why pass", "seconds": 1.235}
                        ],
                    },
                    TWO: {"verdict": "not-run", "tests": []},
                },
            }
        ],
        "migrations": [
            {
                "test": "t",
                "pair": "a1-b1",
                "plan": {"channels": 2},
                "virsh": "virsh migrate g",
                "metrics": {"gap_max_ms": None},
            }
        ],
    }


def test_runs_of_two_machines_become_one() -> None:
    """Pairs add up; the whole lasts from the first start to the last end."""
    first = replace(make_run(BOTH), environment={"host a1": {"qemu": "7.2"}})
    second = replace(
        first,
        id="r2",
        pairs=(OTHER,),
        acceleration="kvm",
        started="2026-01-01T00:00:00Z",
        environment={"host a1": {"qemu": "10.0"}},
    )
    merged = merge([first, second])
    assert merged.pairs == (PAIR, OTHER)
    assert merged.started == "2026-01-01T00:00:00Z"
    assert merged.finished == first.finished
    assert merged.acceleration == "tcg, kvm"
    assert merged.environment == {"host a1": {"qemu": "7.2"}, "host a1 (r2)": {"qemu": "10.0"}}


def test_a_merged_run_is_finished_only_when_all_are() -> None:
    """Half a run must not hide behind a whole one."""
    whole = make_run(BOTH)
    assert merge([whole, replace(whole, id="r2", finished=None)]).finished is None


def test_two_runs_of_one_pair_count_both() -> None:
    """A later pass does not wipe out an earlier failure."""
    run = make_run(BOTH)
    again = replace(make_test(Verdict.PASS, ONE, TWO), run="r2")
    (result,) = judge(
        merge([run, replace(run, id="r2")]), [make_test(Verdict.FAIL, ONE, TWO), again]
    )
    assert result.requirements[0].verdict is Verdict.FAIL
    assert len(result.requirements[0].tests) == 2


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("profile", replace(make_run(BOTH), profile=ProfileSnapshot("upstream"))),
        ("tier", replace(make_run(BOTH), tier=Tier.REAL)),
        ("requirements", replace(make_run(BOTH), requirements={})),
    ],
)
def test_runs_of_different_measures_do_not_mix(what: str, other: RunRecord) -> None:
    """One verdict cannot rest on two profiles, or take a lab for real hosts."""
    with pytest.raises(UsageError, match=f"differ in {what}"):
        merge([make_run(BOTH), other])


def test_no_run_is_no_verdict() -> None:
    """An empty folder is bad input, not an empty success."""
    with pytest.raises(UsageError, match="no record of a run"):
        merge([])
