"""Simulate pre-copy in whole rounds, as described in textbooks (pure functions).

The first round sends all memory. Each further round sends the memory dirtied during the round
before, until the rest fits into the downtime limit. M is the memory to send first. U(t) is the
unique memory dirtied by the guest in a time t. B is the bandwidth, D the limit, and s the cost
of a round besides the bytes:

    V0 = M;  Ti = Vi/B + s;  Vi+1 = U(Ti);  the guest is paused at the first Vi <= B*D
    total = setup + sum(Ti) + downtime;  downtime = Vn/B + device state

A dirty rate above the bandwidth alone does not mean failure: a small working set saturates. The
simulation is the reference for precopy.py.
"""

from migqual.predict.dirty_curve import DirtyModel
from migqual.predict.precopy import MigrationLimits, Prediction, TransferModel

_MAX_ROUNDS = 500
_FIXED_POINT_SHARE = 1e-6  # of the volume; rounds that shrink by less have met their fixed point


def simulate_textbook_precopy(
    memory_to_send_mib: float,
    dirty_model: DirtyModel,
    transfer_model: TransferModel,
    limits: MigrationLimits,
) -> Prediction:
    """Simulate pre-copy in whole rounds.

    Args:
        memory_to_send_mib: Memory in pages not all zero, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and delays of the transfer. `dirty_sync_s` is the cost of a
            round.
        limits: The downtime limit and the deadline.

    Returns:
        The prediction.
    """
    volume_mib, sent_mib, elapsed_s = memory_to_send_mib, 0.0, transfer_model.setup_s
    threshold_mib = transfer_model.bandwidth_mib_s * limits.downtime_limit_s
    round_count = 0
    while (
        volume_mib > threshold_mib and round_count < _MAX_ROUNDS and elapsed_s <= limits.deadline_s
    ):
        round_s = volume_mib / transfer_model.bandwidth_mib_s + transfer_model.dirty_sync_s
        sent_mib, elapsed_s, dirtied_mib = (
            sent_mib + volume_mib,
            elapsed_s + round_s,
            dirty_model.curve(round_s),
        )
        if (
            dirtied_mib > threshold_mib
            and round_count
            and dirtied_mib >= volume_mib * (1.0 - _FIXED_POINT_SHARE)
        ):
            break
        volume_mib, round_count = dirtied_mib, round_count + 1
    downtime_s = volume_mib / transfer_model.bandwidth_mib_s + transfer_model.device_state_s
    converges = volume_mib <= threshold_mib and elapsed_s + downtime_s <= limits.deadline_s
    return Prediction(
        converges, round_count, elapsed_s + downtime_s, downtime_s, sent_mib + volume_mib
    )
