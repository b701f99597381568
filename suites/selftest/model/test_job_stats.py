"""Typed statistics of a libvirt job."""

from collections.abc import Callable

import pytest

from migqual.model.job_stats import JobStats

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
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_statistic_is_read_by_the_name_of_libvirt(name: str) -> None:
    """A property returns exactly its own statistic: 0 stays 0, and an absent one is None."""
    others = {other: 7 for other in PROPERTIES if other != name}

    assert PROPERTIES[name](JobStats({**others, name: 42})) == 42
    assert PROPERTIES[name](JobStats({name: 0})) == 0
    assert PROPERTIES[name](JobStats(others)) is None


def test_job_without_a_type_is_not_active() -> None:
    """An empty reply, and the type 0, mean that no job is active."""
    assert not JobStats().is_active
    assert not JobStats({"type": 0}).is_active
    assert JobStats({"type": 2}).is_active


def test_compression_counters_keep_the_names_of_libvirt() -> None:
    """The counters of compression are read as numbers, without other statistics."""
    stats = JobStats({"compression_pages": 5, "compression_cache": "64", "memory_total": 1})

    assert stats.compression_counters == {"compression_pages": 5, "compression_cache": 64}
