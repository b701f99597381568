"""Records of runs and tests for the selftests of verdicts."""

from collections.abc import Mapping

from migqual.model.record import (
    Demand,
    PairName,
    ProfileSnapshot,
    RequirementSummary,
    RunRecord,
    RunTier,
    TestRecord,
)
from migqual.model.verdict import Verdict

PAIR = PairName("a1", "b1")
OTHER_PAIR = PairName("a2", "b2")
FIRST_ID, SECOND_ID = "LM-CAP-01", "LM-CAP-02"


def make_run(demands: Mapping[str, Demand], *, pairs: tuple[PairName, ...] = (PAIR,)) -> RunRecord:
    return RunRecord(
        id="r1",
        started="2026-01-02T03:04:05Z",
        finished="2026-01-02T03:05:05Z",
        profile=ProfileSnapshot("lab", demands),
        tier=RunTier.LAB,
        version="1",
        pairs=pairs,
        requirements={
            FIRST_ID: RequirementSummary("one", "Caps"),
            SECOND_ID: RequirementSummary("two", "Caps"),
        },
    )


def make_test(
    verdict: Verdict, *requirement_ids: str, pair: PairName | None = PAIR, test_id: str = "t"
) -> TestRecord:
    return TestRecord(
        "r1", test_id, "title", "", "Caps", requirement_ids, pair, verdict, reason=f"why {verdict}"
    )


BOTH_REQUIRED = {FIRST_ID: Demand.REQUIRED, SECOND_ID: Demand.REQUIRED}
FIRST_REQUIRED = {FIRST_ID: Demand.REQUIRED, SECOND_ID: Demand.OPTIONAL}
