"""Pure: figures of one migration, units in their names."""

from migqual.model.outcome import Outcome

MIB = 2**20


def metrics(outcome: Outcome) -> dict[str, float | None]:
    """Every figure that the outcome holds; None where the stack did not report it."""
    found = _libvirt(outcome)
    report = outcome.gaps
    if report is not None:
        found["gap_max_ms"] = round(report.max_ms, 1)
        found["gap_sum_ms"] = round(report.sum_ms, 1)
        found["gap_count"] = len(report.gaps)
        found["gap_resolution_ms"] = report.resolution_ms
        found["gap_noise_ms"] = round(report.noise_ms, 1)
        found["session_stall_ms"] = round(report.session_stall_ms, 1)
    found |= _disks(outcome)
    found["wall_s"] = round(outcome.seconds, 3)
    found["job_samples"] = len(outcome.samples)
    found["job_sample_hz"] = _sample_rate(outcome)
    slowest = max((sample.took_s for sample in outcome.samples), default=None)
    found["job_answer_max_ms"] = None if slowest is None else round(slowest * 1000, 1)
    return found


def _sample_rate(outcome: Outcome) -> float | None:
    """Samples per second between the first and the last; None for fewer than two."""
    if len(outcome.samples) < 2:
        return None
    seconds = outcome.samples[-1].at_s - outcome.samples[0].at_s
    return round((len(outcome.samples) - 1) / seconds, 1) if seconds else None


def _disks(outcome: Outcome) -> dict[str, float | None]:
    """Of each disk that was copied: MiB, and s until it was mirrored (None: not seen)."""
    found: dict[str, float | None] = {}
    for target in sorted({sample.target for sample in outcome.disks}):
        mine = [sample for sample in outcome.disks if sample.target == target]
        mirrored = next((sample.at_s for sample in mine if sample.mirrored), None)
        found[f"disk_{target}_mib"] = _mib(max(sample.done for sample in mine))
        found[f"disk_{target}_s"] = None if mirrored is None else round(mirrored, 3)
    return found


def _libvirt(outcome: Outcome) -> dict[str, float | None]:
    stats = outcome.stats

    def number(name: str) -> float | None:
        value = stats.get(name)
        return float(value) if value is not None else None

    total_ms, setup_ms = number("time_elapsed"), number("setup_time")
    sent, size = number("memory_processed"), number("memory_total")
    transfer_s = None if total_ms is None else (total_ms - (setup_ms or 0.0)) / 1000
    limit = outcome.plan.downtime_ms
    downtime = number("downtime")
    return {
        "total_time_ms": total_ms,
        "setup_time_ms": setup_ms,
        "downtime_libvirt_ms": downtime,
        "downtime_net_ms": number("downtime_net"),
        "downtime_qemu_ms": _qemu_downtime(outcome),
        "downtime_events_ms": outcome.pause_ms,
        "downtime_overshoot": downtime / limit if downtime and limit else None,
        "throughput_avg_mib_s": _rate(sent, transfer_s),
        "throughput_peak_mib_s": _peak(outcome),
        "memory_sent_mib": _mib(sent),
        "amplification": round(sent / size, 3) if sent and size else None,
        "iterations": number("memory_iteration"),
        "zero_pages": number("memory_constant"),
        "normal_pages": number("memory_normal"),
        "dirty_rate_pages_s": number("memory_dirty_rate"),
        "throttle_max_percent": outcome.throttle_max_percent,
        "postcopy_requests": number("memory_postcopy_requests"),
        "disk_mib": _mib(number("disk_processed")),
    }


def _mib(amount: float | None) -> float | None:
    return None if amount is None else round(amount / MIB, 2)


def _rate(amount: float | None, seconds: float | None) -> float | None:
    return None if amount is None or not seconds else round(amount / MIB / seconds, 2)


def _qemu_downtime(outcome: Outcome) -> float | None:
    """QEMU's own figure: from query-migrate when it was asked, else from its events."""
    value = outcome.qemu.get("downtime")
    return float(value) if isinstance(value, int | float) else None


def _peak(outcome: Outcome) -> float | None:
    """Best throughput over a stretch of at least a second, or over all of a shorter migration."""
    points = [
        (sample.at_s, float(sample.stats["memory_processed"]))
        for sample in outcome.samples
        if "memory_processed" in sample.stats
    ]
    best = None
    start = 0
    for end in range(1, len(points)):
        while start + 1 < end and points[end][0] - points[start + 1][0] >= 1.0:
            start += 1
        seconds = points[end][0] - points[start][0]
        if seconds >= 1.0:
            rate = (points[end][1] - points[start][1]) / MIB / seconds
            best = rate if best is None else max(best, rate)
    return None if best is None else round(best, 2)
