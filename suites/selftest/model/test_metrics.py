"""Figures of a migration from the job statistics."""

import json

import pytest

from migqual.model.job_stats import JobStats
from migqual.model.metrics import compute_metrics
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Plan

pytestmark = pytest.mark.selftest

STATISTICS = {
    "total_time_ms": "time_elapsed",
    "setup_time_ms": "setup_time",
    "downtime_libvirt_ms": "downtime",
    "downtime_net_ms": "downtime_net",
    "iterations": "memory_iteration",
    "zero_pages": "memory_constant",
    "normal_pages": "memory_normal",
    "dirty_rate_pages_s": "memory_dirty_rate",
    "postcopy_requests": "memory_postcopy_requests",
}


@pytest.mark.parametrize(("figure", "statistic"), STATISTICS.items())
def test_figure_of_a_statistic_is_a_decimal_number(figure: str, statistic: str) -> None:
    """Reports show 44.0 for 44 and 0.0 for 0; an absent statistic is null."""
    assert render_figure(figure, {statistic: 44}) == "44.0"
    assert render_figure(figure, {statistic: 0}) == "0.0"
    assert render_figure(figure, {}) == "null"


def render_figure(figure: str, values: dict[str, int | str]) -> str:
    """Compute the metric `figure` from the job statistics `values`; render the number as JSON."""
    outcome = Outcome(
        *(Plan(), "guest", "a1", "b1", "virsh", MigrationStatus.COMPLETED, 1.0),
        stats=JobStats(values),
    )
    return json.dumps(compute_metrics(outcome)[figure])
