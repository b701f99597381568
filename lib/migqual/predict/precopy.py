"""Simulate pre-copy as in QEMU, in slices of QEMU's rate limit (pure functions).

A round of the textbook (textbook.py) ends when all memory of the round is sent. QEMU reads the
dirty log as soon as the remaining memory fits into the downtime limit. Memory dirtied meanwhile
is added to the remaining memory. If the sum still fits, QEMU pauses the guest. QEMU sends the
rest without the bandwidth limit. So with a bandwidth limit B of 16 MiB/s, the last B*D MiB need
less than the downtime limit D.
"""

import math
from dataclasses import dataclass

from migqual.predict.dirty_curve import DirtyModel
from migqual.predict.throttle import Throttle

_MAX_ROUNDS = 500
_RATE_LIMIT_SLICE_S = (
    0.1  # QEMU's rate limit counts in slices of it, and so does its idea of the bandwidth
)


@dataclass(frozen=True)
class TransferModel:
    """The speeds and delays of a migration, as measured with an idle guest.

    Attributes:
        bandwidth_mib_s: Speed while the guest runs: the lower of link speed and limit.
        paused_bandwidth_mib_s: Speed while the guest is paused. The limit does not apply then.
        setup_s: Time from the start to the first byte.
        dirty_sync_s: Time for a sync of the dirty log.
        device_state_s: Time for the device state and the hand-over.
    """

    bandwidth_mib_s: float
    paused_bandwidth_mib_s: float
    setup_s: float = 0.0
    dirty_sync_s: float = 0.0
    device_state_s: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """The prediction of a migration.

    Attributes:
        total_s: Total time. Without convergence, the time after the last simulated round.
        downtime_s: Downtime. Without convergence, the downtime after the last simulated round.
    """

    converges: bool
    rounds: int
    total_s: float
    downtime_s: float
    sent_mib: float


@dataclass(frozen=True)
class MigrationLimits:
    """The limits of a migration.

    Attributes:
        downtime_limit_s: Allowed downtime.
        deadline_s: Allowed total time. A longer migration counts as not converging.
    """

    downtime_limit_s: float
    deadline_s: float = math.inf


def simulate_precopy(
    memory_to_send_mib: float,
    dirty_model: DirtyModel,
    transfer_model: TransferModel,
    limits: MigrationLimits,
    throttle: Throttle | None = None,
) -> Prediction:
    """Simulate pre-copy.

    Args:
        memory_to_send_mib: Memory in pages not all zero, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and delays of the transfer.
        limits: The downtime limit and the deadline.
        throttle: A new throttle to slow the guest down step by step. Afterwards the throttle
            holds the last step.

    Returns:
        The prediction.
    """
    pending_mib, sent_mib, elapsed_s, since_sync_s, rounds = (
        memory_to_send_mib,
        0.0,
        transfer_model.setup_s,
        0.0,
        1,
    )
    threshold_mib = transfer_model.bandwidth_mib_s * limits.downtime_limit_s
    throttle = throttle or Throttle(())
    while True:
        if pending_mib < threshold_mib:
            elapsed_s += transfer_model.dirty_sync_s
            unsent_mib, throttled_model = pending_mib, dirty_model.throttled(throttle.cpu_share)
            pending_mib = throttled_model.pending_after(
                unsent_mib, since_sync_s + transfer_model.dirty_sync_s
            )
            throttle.record_dirty_sync(
                pending_mib - unsent_mib, sent_mib, elapsed_s - transfer_model.setup_s
            )
            since_sync_s, rounds = 0.0, rounds + 1
        if pending_mib < threshold_mib or elapsed_s > limits.deadline_s or rounds > _MAX_ROUNDS:
            break
        chunk_mib = min(transfer_model.bandwidth_mib_s * _RATE_LIMIT_SLICE_S, pending_mib)
        chunk_s = chunk_mib / transfer_model.bandwidth_mib_s
        pending_mib, sent_mib, elapsed_s, since_sync_s = (
            pending_mib - chunk_mib,
            sent_mib + chunk_mib,
            elapsed_s + chunk_s,
            since_sync_s + chunk_s,
        )
    downtime_s = pending_mib / transfer_model.paused_bandwidth_mib_s + transfer_model.device_state_s
    converges = pending_mib < threshold_mib and elapsed_s + downtime_s <= limits.deadline_s
    return Prediction(converges, rounds, elapsed_s + downtime_s, downtime_s, sent_mib + pending_mib)


def is_near_boundary(
    memory_to_send_mib: float,
    dirty_model: DirtyModel,
    transfer_model: TransferModel,
    limits: MigrationLimits,
    *,
    tolerance: float = 0.1,
) -> bool:
    """Return whether a little more or less dirtying changes the predicted convergence.

    Args:
        memory_to_send_mib: Memory in pages not all zero, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and delays of the transfer.
        limits: The downtime limit and the deadline.
        tolerance: Change of the dirtying as a share, 0 to 1.
    """
    verdicts = {
        simulate_precopy(
            memory_to_send_mib, dirty_model.throttled(cpu_share), transfer_model, limits
        ).converges
        for cpu_share in (-tolerance, 0.0, tolerance)
    }
    return len(verdicts) > 1
