"""How often the gap meter probes, and what it makes of gaps seen at different paces; all pure."""

from collections.abc import Mapping
from typing import Any

import pytest

from migqual.model.outcome import JobSample
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.observe import gaps
from migqual.observe.gaps import Trace
from migqual.observe.pace import Pace, PaceChange, choose_pace, find_interval_ns

pytestmark = pytest.mark.selftest
MS = 1_000_000
MIB = 2**20


def sample(**stats: int) -> JobSample:
    return JobSample(1.0, {f"memory_{name}": value for name, value in stats.items()}, 0.001)


def moving(remaining: int) -> dict[str, int]:
    """Figures of a migration that sends 100 MiB/s."""
    return {"processed": MIB, "remaining": remaining, "bps": 100 * MIB}


@pytest.mark.parametrize(
    ("plan", "stats", "current", "expected"),
    [
        (Plan(), moving(500 * MIB), Pace.FINE, Pace.STEADY),
        (Plan(), moving(50 * MIB), Pace.STEADY, Pace.FINE),
        (Plan(), moving(150 * MIB), Pace.STEADY, Pace.STEADY),
        (Plan(), moving(150 * MIB), Pace.FINE, Pace.FINE),
        (Plan(), {}, Pace.FINE, Pace.STEADY),
        (Plan(), {"processed": MIB}, Pace.STEADY, Pace.FINE),
        (Plan(postcopy=True), moving(500 * MIB), Pace.FINE, Pace.FINE),
        (
            Plan(timeout=Timeout(2.0, TimeoutAction.SUSPEND)),
            moving(500 * MIB),
            Pace.STEADY,
            Pace.FINE,
        ),
    ],
    ids=[
        *("far", "near", "between, steady", "between, fine", "no memory yet", "memory moves"),
        *("post-copy", "suspended by a limit"),
    ],
)
def test_the_switch_over_is_probed_finely(
    plan: Plan, stats: Mapping[str, Any], current: Pace, expected: Pace
) -> None:
    """
    The client probes every 2 ms when an interruption is due, and more seldom while it is far.

    Expected: far away is steady, near is fine, between the two nothing changes; what is not known,
    or may come at any time, is probed finely.
    """
    assert choose_pace(plan, sample(**stats), current) is expected


def test_the_longer_interval_counts_where_it_changed() -> None:
    """A silence that spans a change may be as long as the slower pace without being a gap."""
    changes = [
        PaceChange(0, 100 * MS),
        PaceChange(1000 * MS, 2 * MS),
        PaceChange(2000 * MS, 20 * MS),
    ]

    assert find_interval_ns(changes, 500 * MS, 600 * MS) == 100 * MS
    assert find_interval_ns(changes, 990 * MS, 1010 * MS) == 100 * MS
    assert find_interval_ns(changes, 1100 * MS, 1200 * MS) == 2 * MS
    assert find_interval_ns(changes, 1500 * MS, 2500 * MS) == 20 * MS
    assert find_interval_ns([], 0, MS) == Pace.FINE.interval_ns


def test_a_gap_is_told_with_its_resolution() -> None:
    """
    A gap that was seen at the steady pace is true to 20 ms, and the report says so.

    Expected: 80 ms less the interval of 20 ms, with that resolution; the same silence at the fine
    pace is 78 ms, true to 2 ms.
    """
    found = Trace()
    for line in ("r 20000000 0", "p 1 0 0", "p 2 80000000 80000000", "p 3 100000000 100000000"):
        found.take(line)
    steady = gaps.report(found, 0, 0, 100 * MS)
    found.paces[:] = [PaceChange(0, 2 * MS)]
    fine = gaps.report(found, 0, 0, 90 * MS)

    assert (steady.max_ms, steady.resolution_ms) == (60, 20)
    assert (fine.max_ms, fine.resolution_ms) == (78, 2)
