"""Typed statistics of a libvirt job."""

from collections.abc import Callable

import pytest

from migqual.model.job_stats import JobStats

pytestmark = pytest.mark.selftest

PROPERTIES: dict[str, Callable[[JobStats], int | None]] = {
    "operation": lambda stats: stats.operation,
    "time_elapsed": lambda stats: stats.total_time_ms,
    "setup_time": lambda stats: stats.setup_time_ms,
    "downtime": lambda stats: stats.downtime_ms,
    "downtime_net": lambda stats: stats.downtime_net_ms,
    "data_processed": lambda stats: stats.data_processed_bytes,
    "memory_total": lambda stats: stats.memory_total_bytes,
    "memory_processed": lambda stats: stats.memory_processed_bytes,
    "memory_remaining": lambda stats: stats.memory_remaining_bytes,
    "memory_bps": lambda stats: stats.memory_bytes_per_s,
    "memory_iteration": lambda stats: stats.memory_iteration,
    "memory_dirty_rate": lambda stats: stats.dirty_rate_pages_per_s,
    "memory_constant": lambda stats: stats.zero_pages,
    "memory_normal": lambda stats: stats.normal_pages,
    "memory_normal_bytes": lambda stats: stats.normal_bytes,
    "memory_postcopy_requests": lambda stats: stats.postcopy_requests,
    "auto_converge_throttle": lambda stats: stats.throttle_percent,
    "disk_total": lambda stats: stats.disk_total_bytes,
    "disk_processed": lambda stats: stats.disk_processed_bytes,
    "compression_cache": lambda stats: stats.xbzrle_cache_bytes,
    "compression_bytes": lambda stats: stats.xbzrle_bytes,
    "compression_pages": lambda stats: stats.xbzrle_pages,
    "compression_cache_misses": lambda stats: stats.xbzrle_cache_misses,
    "compression_overflow": lambda stats: stats.xbzrle_overflow_pages,
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_statistic_is_read_by_the_name_of_libvirt(name: str) -> None:
    """Each property of `JobStats` returns its own statistic of libvirt, and no other statistic.

    A statistic of 0 stays 0. A statistic that libvirt did not report is None.
    """
    others = {other: 7 for other in PROPERTIES if other != name}

    assert PROPERTIES[name](JobStats({**others, name: 42})) == 42
    assert PROPERTIES[name](JobStats({name: 0})) == 0
    assert PROPERTIES[name](JobStats(others)) is None


def test_job_without_a_type_is_not_active() -> None:
    """If the job statistics are empty, or have the job type 0, no job is active."""
    assert not JobStats().is_active
    assert not JobStats({"type": 0}).is_active
    assert JobStats({"type": 2}).is_active
    assert JobStats().job_type == 0
    assert JobStats({"type": 2}).job_type == 2


def test_text_is_read_only_as_a_number() -> None:
    """
    If libvirt reports a number as text, the property of `JobStats` returns the number.

    Expected: for the text "44" the property returns 44. For the text "unknown" the property raises
    ValueError.
    """
    stats = JobStats({"downtime": "44", "memory_total": "unknown", "errmsg": "no route"})

    assert stats.downtime_ms == 44
    with pytest.raises(ValueError, match="unknown"):
        _ = stats.memory_total_bytes


def test_all_values_are_kept_as_reported() -> None:
    """`JobStats.values` keeps each statistic of libvirt, also `errmsg`, which has no property."""
    values: dict[str, int | str] = {"downtime": "44", "errmsg": "no route", "type": 2}

    assert JobStats(values).values == values
