"""Compute the figures of a migration, for example downtime and throughput.

Each name of a figure contains the unit. The functions are pure.
"""

from migqual.model.outcome import Outcome
from migqual.units import MIB


def compute_metrics(outcome: Outcome) -> dict[str, float | None]:
    """Compute the figures of a migration from the outcome.

    Returns:
        The figures by name. None means that libvirt and QEMU did not report the value. If the
        client did not measure gaps, the figures of the gaps are left out.
    """
    figures = _compute_job_metrics(outcome)
    gap_report = outcome.gap_report
    if gap_report is not None:
        figures["gap_max_ms"] = round(gap_report.max_ms, 1)
        figures["gap_sum_ms"] = round(gap_report.sum_ms, 1)
        figures["gap_count"] = len(gap_report.gaps)
        figures["gap_resolution_ms"] = gap_report.resolution_ms
        figures["gap_noise_ms"] = round(gap_report.noise_ms, 1)
        figures["session_stall_ms"] = round(gap_report.session_stall_ms, 1)
    figures |= _compute_disk_metrics(outcome)
    figures["wall_s"] = round(outcome.seconds, 3)
    figures["job_samples"] = len(outcome.job_samples)
    figures["job_sample_hz"] = _compute_sample_rate(outcome)
    slowest_query_s = max((sample.query_s for sample in outcome.job_samples), default=None)
    figures["job_query_max_ms"] = (
        None if slowest_query_s is None else round(slowest_query_s * 1000, 1)
    )
    return figures


def _compute_sample_rate(outcome: Outcome) -> float | None:
    """Compute the job samples per second, or return None for fewer than two samples."""
    if len(outcome.job_samples) < 2:
        return None
    seconds = outcome.job_samples[-1].at_s - outcome.job_samples[0].at_s
    return round((len(outcome.job_samples) - 1) / seconds, 1) if seconds else None


def _compute_disk_metrics(outcome: Outcome) -> dict[str, float | None]:
    """Compute for each disk the copied MiB, and the seconds until all blocks were copied.

    The seconds are None if no sample shows a complete copy of the disk.
    """
    figures: dict[str, float | None] = {}
    for target in sorted({sample.target for sample in outcome.disk_samples}):
        target_samples = [sample for sample in outcome.disk_samples if sample.target == target]
        mirrored_at_s = next((sample.at_s for sample in target_samples if sample.is_mirrored), None)
        figures[f"disk_{target}_mib"] = _convert_to_mib(
            max(sample.copied_bytes for sample in target_samples)
        )
        figures[f"disk_{target}_s"] = None if mirrored_at_s is None else round(mirrored_at_s, 3)
    return figures


def _compute_job_metrics(outcome: Outcome) -> dict[str, float | None]:
    stats = outcome.stats
    total_ms = _convert_to_float(stats.total_time_ms)
    setup_ms = _convert_to_float(stats.setup_time_ms)
    sent_bytes, memory_bytes = stats.memory_processed_bytes, stats.memory_total_bytes
    transfer_s = None if total_ms is None else (total_ms - (setup_ms or 0.0)) / 1000
    downtime_limit_ms = outcome.plan.downtime_ms
    downtime_ms = _convert_to_float(stats.downtime_ms)
    return {
        "total_time_ms": total_ms,
        "setup_time_ms": setup_ms,
        "downtime_libvirt_ms": downtime_ms,
        "downtime_net_ms": _convert_to_float(stats.downtime_net_ms),
        "downtime_qemu_ms": _read_qemu_downtime(outcome),
        "downtime_events_ms": outcome.pause_ms,
        "downtime_overshoot": downtime_ms / downtime_limit_ms
        if downtime_ms and downtime_limit_ms
        else None,
        "throughput_avg_mib_s": _compute_rate_mib_s(sent_bytes, transfer_s),
        "throughput_peak_mib_s": _find_peak_rate(outcome),
        "memory_sent_mib": _convert_to_mib(sent_bytes),
        "amplification": round(sent_bytes / memory_bytes, 3)
        if sent_bytes and memory_bytes
        else None,
        "iterations": _convert_to_float(stats.memory_iteration),
        "zero_pages": _convert_to_float(stats.zero_pages),
        "normal_pages": _convert_to_float(stats.normal_pages),
        "dirty_rate_pages_s": _convert_to_float(stats.dirty_rate_pages_per_s),
        "throttle_max_percent": outcome.throttle_max_percent,
        "postcopy_requests": _convert_to_float(stats.postcopy_requests),
        "disk_mib": _convert_to_mib(stats.disk_processed_bytes),
    }


def _convert_to_float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _convert_to_mib(byte_count: float | None) -> float | None:
    return None if byte_count is None else round(byte_count / MIB, 2)


def _compute_rate_mib_s(byte_count: float | None, seconds: float | None) -> float | None:
    return None if byte_count is None or not seconds else round(byte_count / MIB / seconds, 2)


def _read_qemu_downtime(outcome: Outcome) -> float | None:
    """Return the downtime in ms that QEMU reported, or None if QEMU reported no downtime."""
    value = outcome.qemu_stats.get("downtime")
    return float(value) if isinstance(value, int | float) else None


def _find_peak_rate(outcome: Outcome) -> float | None:
    """Find the highest throughput of guest memory in MiB/s.

    The throughput is an average over 1 s or slightly more. The result is None if the job samples
    cover less than 1 s.
    """
    points = [
        (sample.at_s, sample.stats.memory_processed_bytes)
        for sample in outcome.job_samples
        if sample.stats.memory_processed_bytes is not None
    ]
    peak_mib_s = None
    start = 0
    for end in range(1, len(points)):
        while start + 1 < end and points[end][0] - points[start + 1][0] >= 1.0:
            start += 1
        seconds = points[end][0] - points[start][0]
        if seconds >= 1.0:
            rate_mib_s = (points[end][1] - points[start][1]) / MIB / seconds
            peak_mib_s = rate_mib_s if peak_mib_s is None else max(peak_mib_s, rate_mib_s)
    return None if peak_mib_s is None else round(peak_mib_s, 2)
