"""The probe interval of the gap meter, and gaps at different intervals, as pure functions."""

from collections.abc import Mapping
from typing import Any

import pytest

from migqual.model.job_stats import JobStats
from migqual.model.outcome import JobSample
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.observe import gaps
from migqual.observe.gaps import MeterTrace
from migqual.observe.probe_interval import (
    ProbeInterval,
    ProbeIntervalChange,
    choose_probe_interval,
    find_longest_interval_ns,
)
from migqual.units import MIB

pytestmark = pytest.mark.selftest
NS_PER_MS = 1_000_000


def make_sample(**stats: int) -> JobSample:
    return JobSample(
        1.0, JobStats({f"memory_{name}": value for name, value in stats.items()}), 0.001
    )


def make_memory_stats(remaining_bytes: int) -> dict[str, int]:
    """Return the job statistics of a migration with a speed of 100 MiB/s."""
    return {"processed": MIB, "remaining": remaining_bytes, "bps": 100 * MIB}


@pytest.mark.parametrize(
    ("plan", "stats", "current", "expected"),
    [
        (Plan(), make_memory_stats(500 * MIB), ProbeInterval.FINE, ProbeInterval.MEDIUM),
        (Plan(), make_memory_stats(50 * MIB), ProbeInterval.MEDIUM, ProbeInterval.FINE),
        (Plan(), make_memory_stats(150 * MIB), ProbeInterval.MEDIUM, ProbeInterval.MEDIUM),
        (Plan(), make_memory_stats(150 * MIB), ProbeInterval.FINE, ProbeInterval.FINE),
        (Plan(), {}, ProbeInterval.FINE, ProbeInterval.MEDIUM),
        (Plan(), {"processed": MIB}, ProbeInterval.MEDIUM, ProbeInterval.FINE),
        (Plan(postcopy=True), make_memory_stats(500 * MIB), ProbeInterval.FINE, ProbeInterval.FINE),
        (
            Plan(timeout=Timeout(2.0, TimeoutAction.SUSPEND)),
            make_memory_stats(500 * MIB),
            ProbeInterval.MEDIUM,
            ProbeInterval.FINE,
        ),
    ],
    ids=[
        *("far", "near", "between, medium", "between, fine", "no memory yet", "speed unknown"),
        *("post-copy", "suspend at timeout"),
    ],
)
def test_probes_are_frequent_near_the_switchover(
    plan: Plan, stats: Mapping[str, Any], current: ProbeInterval, expected: ProbeInterval
) -> None:
    """
    The client sends a probe every 2 ms if the guest may be interrupted soon, else every 20 ms.

    Preconditions: the job sample gives the remaining memory and the speed of the migration. The
    time to the switch-over is the remaining memory divided by the speed.
    Expected: the first line that applies gives the interval (2 ms is FINE, 20 ms is MEDIUM):

    - the plan has post-copy or a timeout: 2 ms
    - no memory was sent yet: 20 ms
    - the speed is unknown: 2 ms
    - the time to the switch-over is longer than 2 s: 20 ms
    - the time to the switch-over is shorter than 1 s: 2 ms
    - the time to the switch-over is 1 s to 2 s: the interval does not change
    """
    assert choose_probe_interval(plan, make_sample(**stats), current) is expected


def test_longest_probe_interval_of_a_period() -> None:
    """The longest probe interval in force during a period is found.

    The length of a gap is the time between two replies minus this interval.
    """
    changes = [
        ProbeIntervalChange(0, 100 * NS_PER_MS),
        ProbeIntervalChange(1000 * NS_PER_MS, 2 * NS_PER_MS),
        ProbeIntervalChange(2000 * NS_PER_MS, 20 * NS_PER_MS),
    ]

    assert find_longest_interval_ns(changes, 500 * NS_PER_MS, 600 * NS_PER_MS) == 100 * NS_PER_MS
    assert find_longest_interval_ns(changes, 990 * NS_PER_MS, 1010 * NS_PER_MS) == 100 * NS_PER_MS
    assert find_longest_interval_ns(changes, 1100 * NS_PER_MS, 1200 * NS_PER_MS) == 2 * NS_PER_MS
    assert find_longest_interval_ns(changes, 1500 * NS_PER_MS, 2500 * NS_PER_MS) == 20 * NS_PER_MS
    assert find_longest_interval_ns([], 0, NS_PER_MS) == ProbeInterval.FINE.interval_ns


def test_gap_report_contains_the_resolution() -> None:
    """
    The report of a gap contains the resolution of the measurement.

    Expected: a silence of 80 ms at the medium interval is a gap of 60 ms (80 ms minus
    the interval of 20 ms) with a resolution of 20 ms. The same silence at the fine interval is a
    gap of 78 ms with a resolution of 2 ms.
    """
    trace = MeterTrace()
    for line in ("r 20000000 0", "p 1 0 0", "p 2 80000000 80000000", "p 3 100000000 100000000"):
        trace.parse_line(line)
    medium_report = gaps.build_gap_report(trace, 0, 0, 100 * NS_PER_MS)
    trace.interval_changes[:] = [ProbeIntervalChange(0, 2 * NS_PER_MS)]
    fine_report = gaps.build_gap_report(trace, 0, 0, 90 * NS_PER_MS)

    assert (medium_report.max_ms, medium_report.resolution_ms) == (60, 20)
    assert (fine_report.max_ms, fine_report.resolution_ms) == (78, 2)
