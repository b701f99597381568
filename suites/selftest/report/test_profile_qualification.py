"""A pair of real hosts can meet each shipped profile, except requirements without tests."""

from dataclasses import replace

import pytest

from migqual.model.profile import list_profile_names, load_profile
from migqual.model.record import RequirementSummary, RunTier
from migqual.model.requirement import load_requirements
from migqual.model.run_result import RunResult
from migqual.model.verdict import Verdict
from migqual.report.qualification import judge_pairs, judge_run
from suites.selftest.support.verdict_records import make_run, make_test

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("name", list_profile_names())
def test_real_pair_meets_the_profile(name: str) -> None:
    """
    A real pair can meet the requirements of a profile although some tests were withheld.

    Preconditions: each requirement that has tests has a passed test and a withheld test. A withheld
    test did not run, because its fault could harm other users of a host.
    Expected: if the profile requires only requirements that have tests, the run is qualified.
    Otherwise the run is inconclusive.
    """
    requirements = load_requirements()
    profile = load_profile(name).make_snapshot()
    run = replace(
        make_run({}),
        profile=profile,
        tier=RunTier.REAL,
        requirements={id_: RequirementSummary(id_, "Caps") for id_ in requirements},
    )
    records = [
        make_test(verdict, id_, test_id=f"{id_}-{verdict}")
        for id_, requirement in requirements.items()
        if requirement.has_tests
        for verdict in (Verdict.PASS, Verdict.WITHHELD)
    ]

    (pair_result,) = judge_pairs(run, records)

    unmet_ids = {result.id for result in pair_result.unmet_requirements}
    assert unmet_ids <= {id_ for id_, one in requirements.items() if not one.has_tests}
    expected_result = RunResult.INCONCLUSIVE if unmet_ids else RunResult.QUALIFIED
    assert judge_run([pair_result]) is expected_result
