"""Compare the figures of a completed migration with the limits of a profile. No side effects."""

from migqual.model.metrics import compute_metrics
from migqual.model.outcome import Outcome
from migqual.model.profile import Thresholds


def find_exceeded_limits(outcome: Outcome, thresholds: Thresholds) -> list[str]:
    """Find the limits that a completed migration exceeded.

    If the client did not measure the gap or the TCP session, the limit counts as exceeded. The
    threshold `downtime_qemu_max_ms` applies only to a plan without its own downtime limit. A
    downtime that QEMU did not report does not exceed the threshold.

    Args:
        outcome: The outcome of the migration.
        thresholds: The limits of the profile.

    Returns:
        A text for each exceeded limit. The text states the figure and the limit, or that the
        figure was not measured.
    """
    figures = compute_metrics(outcome)
    limits = {
        "gap_max_ms": thresholds.gap_max_ms,
        "session_stall_ms": thresholds.tcp_stall_max_ms,
        "wall_s": thresholds.migration_time_max_s,
    }
    if outcome.plan.downtime_ms is None and figures["downtime_qemu_ms"] is not None:
        limits["downtime_qemu_ms"] = thresholds.downtime_qemu_max_ms
    exceeded = []
    for name, limit in limits.items():
        figure = figures.get(name)
        if figure is None:
            exceeded.append(f"{name} was not measured")
        elif figure > limit:
            exceeded.append(f"{name} is {figure:g}, above the limit {limit:g} of the profile")
    return exceeded
