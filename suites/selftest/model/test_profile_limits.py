"""The figures of a migration are compared with the limits of a profile."""

from dataclasses import replace

import pytest

from migqual.model.outcome import Gap, GapReport, MigrationStatus, Outcome
from migqual.model.plan import Plan
from migqual.model.profile import Thresholds
from migqual.model.profile_limits import find_exceeded_limits

pytestmark = pytest.mark.selftest

THRESHOLDS = Thresholds(
    gap_max_ms=100, tcp_stall_max_ms=200, downtime_qemu_max_ms=50, migration_time_max_s=10
)
OUTCOME = Outcome(
    plan=Plan(),
    guest="g",
    source="a1",
    destination="b1",
    virsh="",
    status=MigrationStatus.COMPLETED,
    seconds=10.0,
    gap_report=GapReport(1.0, (Gap(5.0, 100.0),), 10, 10, 1000.0, True, 200.0),  # noqa: FBT003
    qemu_stats={"downtime": 50},
)


def test_figures_at_the_limits_are_allowed() -> None:
    assert find_exceeded_limits(OUTCOME, THRESHOLDS) == []


@pytest.mark.parametrize(
    ("limit", "figure"),
    [
        ("gap_max_ms", "gap_max_ms is 100"),
        ("tcp_stall_max_ms", "session_stall_ms is 200"),
        ("downtime_qemu_max_ms", "downtime_qemu_ms is 50"),
        ("migration_time_max_s", "wall_s is 10"),
    ],
)
def test_each_limit_is_compared(limit: str, figure: str) -> None:
    """If one limit is lower than its figure, exactly this limit is reported as exceeded."""
    lower_value = getattr(THRESHOLDS, limit) - 0.5
    (text,) = find_exceeded_limits(OUTCOME, replace(THRESHOLDS, **{limit: lower_value}))

    assert text == f"{figure}, above the limit {lower_value:g} of the profile"


def test_missing_gap_report_is_no_pass() -> None:
    """
    If the client did not measure a migration, the migration does not meet the limits.

    Expected: two messages state what was not measured. The first message is about the gap (time
    without a reply of the guest). The second message is about the session stall (time without a
    reply in an open TCP session).
    """
    assert find_exceeded_limits(replace(OUTCOME, gap_report=None), THRESHOLDS) == [
        "gap_max_ms was not measured",
        "session_stall_ms was not measured",
    ]


def test_downtime_limit_of_the_plan_has_precedence() -> None:
    """
    If a plan sets a downtime limit, the downtime limit of the profile has no effect.

    Expected: a downtime above the limit of the profile is allowed. If QEMU reported no downtime,
    the migration is also allowed.
    """
    low_thresholds = replace(THRESHOLDS, downtime_qemu_max_ms=1)

    assert find_exceeded_limits(replace(OUTCOME, plan=Plan(downtime_ms=300)), low_thresholds) == []
    assert find_exceeded_limits(replace(OUTCOME, qemu_stats={}), low_thresholds) == []
