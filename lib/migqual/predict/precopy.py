"""Simulate a pre-copy migration with the algorithms of QEMU and of textbooks. No side effects."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from migqual.predict.dirty_curve import DirtyModel

# cpu-throttle-initial is 20, cpu-throttle-increment is 10, max-cpu-throttle is 99
STEPS_PERCENT = (20, 30, 40, 50, 60, 70, 80, 90, 99)
_MIN_PERIOD_S = 1.0
_TRIGGER_SHARE = 0.5  # throttle-trigger-threshold
_TRIGGER_COUNT = 2
_MAX_ROUNDS = 500
_RATE_LIMIT_SLICE_S = (
    0.1  # QEMU limits the rate, and measures the bandwidth, in time slices of this length
)
# share of the memory of a round; if the next round is not smaller by this share, rounds end
_FIXED_POINT_SHARE = 1e-6


class Throttle:
    """A model of auto-converge, which takes a share of CPU time from the guest.

    QEMU reads the dirty log between two iterations. Then QEMU also checks the dirty rate
    (`migration_trigger_throttle` in migration/ram.c), but at most once per second. The check
    compares the memory dirtied and the memory sent since the previous check. The rate is high if
    the dirtied memory is more than half of the sent memory.

    The share is 0 % at the start. QEMU increases the share to 20 %, 30 %, 40 % and so on up to
    90 %, and then to 99 %. Each increase needs two checks with a high rate. So, if each iteration
    takes many seconds, the share is high only after minutes. QEMU 9.2 and later read the dirty log
    more often, and may increase the share sooner.
    """

    def __init__(self, steps_percent: Iterable[int] = STEPS_PERCENT) -> None:
        self.percent = 0
        self._steps = iter(steps_percent)
        self._high_rate_count = 0
        self._dirtied_mib = self._sent_mib = self._last_sync_s = 0.0

    @property
    def cpu_share(self) -> float:
        """Return the share of CPU time that QEMU takes from the guest to throttle it, 0 to 1."""
        return self.percent / 100

    def record_dirty_sync(self, dirtied_mib: float, sent_mib: float, elapsed_s: float) -> None:
        """Record that the simulated QEMU reads the dirty log, and check the dirty rate.

        The function checks the rate only if the previous check was more than 1 s before. The check
        compares the memory dirtied and the memory sent since the previous check. The rate is high
        if the dirtied memory is more than half of the sent memory. After two checks with a high
        rate, the share of CPU time taken from the guest increases to the next step, for example
        from 20 % to 30 %.

        Args:
            dirtied_mib: Memory dirtied since QEMU last read the dirty log, in MiB.
            sent_mib: Memory sent since the start of the migration, in MiB.
            elapsed_s: Time since QEMU sent the first byte of memory, in s.
        """
        self._dirtied_mib += dirtied_mib
        if elapsed_s - self._last_sync_s <= _MIN_PERIOD_S:
            return
        if self._dirtied_mib > _TRIGGER_SHARE * (sent_mib - self._sent_mib):
            self._high_rate_count += 1
        if self._high_rate_count >= _TRIGGER_COUNT:
            self._high_rate_count, self.percent = 0, next(self._steps, self.percent)
        self._dirtied_mib, self._sent_mib, self._last_sync_s = 0.0, sent_mib, elapsed_s


@dataclass(frozen=True)
class TransferModel:
    """The speeds and constant durations of a migration.

    Attributes:
        bandwidth_mib_s: Speed while the guest runs: the lower of link speed and bandwidth limit.
        paused_bandwidth_mib_s: Speed while the guest is paused: the link speed. The bandwidth limit
            has no effect then.
        setup_s: Time from the start of the migration to the first byte of memory.
        dirty_sync_s: Time that QEMU needs to read the dirty log once.
        device_state_s: Part of the downtime for the device state and the switch-over.
    """

    bandwidth_mib_s: float
    paused_bandwidth_mib_s: float
    setup_s: float = 0.0
    dirty_sync_s: float = 0.0
    device_state_s: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """The predicted result of a migration.

    Attributes:
        converges: Whether the migration keeps the downtime limit and ends before the deadline.
        rounds: Number of simulated rounds. In each round, QEMU sends the dirty pages.
        total_s: Total time, including the downtime.
        downtime_s: Downtime. If the migration does not converge, `total_s` and `downtime_s` assume
            that QEMU pauses the guest at the end of the simulation.
        sent_mib: Memory sent, including pages sent again.

    Example:
        Predict a migration of 2 GiB over a link of 112 MiB/s. The guest writes 40 MiB/s to random
        pages of a working set of 500 MiB::

            curve = build_saturating_curve(rate_mib_s=40, working_set_mib=500)
            prediction = simulate_precopy(
                memory_to_send_mib=2048,
                dirty_model=DirtyModel(curve, working_set_mib=500, is_random=True),
                transfer_model=TransferModel(bandwidth_mib_s=112, paused_bandwidth_mib_s=112),
                limits=MigrationLimits(downtime_limit_s=0.3),
            )
            print(prediction.converges, prediction.total_s)
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
        downtime_limit_s: Longest allowed downtime.
        deadline_s: Longest allowed total time. If the predicted total time is longer, the
            prediction states that the migration does not converge.
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
    """Simulate a pre-copy migration with the algorithm of QEMU (docs/prediction.md).

    Args:
        memory_to_send_mib: Memory in non-zero pages, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and constant durations of the migration, for example the setup time.
        limits: The downtime limit and the deadline of the migration.
        throttle: A new `Throttle` for a migration with auto-converge. None means that the migration
            has no auto-converge. After the call, the throttle contains the highest share of CPU
            time that auto-converge took from the guest.

    Returns:
        The prediction.
    """
    pending_mib, sent_mib, since_sync_s, rounds = memory_to_send_mib, 0.0, 0.0, 1
    elapsed_s = transfer_model.setup_s
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
    """Return whether a small change of the dirty rate changes the predicted convergence.

    The function predicts convergence for a lower, the same and a higher dirty rate.

    Args:
        memory_to_send_mib: Memory in non-zero pages, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and constant durations of the migration, for example the setup time.
        limits: The downtime limit and the deadline of the migration.
        tolerance: Change of the dirty rate as a share, 0 to 1. For 0.1, the rate is 10 % lower
            and 10 % higher.
    """
    verdicts = {
        simulate_precopy(
            memory_to_send_mib, dirty_model.throttled(cpu_share), transfer_model, limits
        ).converges
        for cpu_share in (-tolerance, 0.0, tolerance)
    }
    return len(verdicts) > 1


def simulate_textbook_precopy(
    memory_to_send_mib: float,
    dirty_model: DirtyModel,
    transfer_model: TransferModel,
    limits: MigrationLimits,
) -> Prediction:
    """Simulate a pre-copy migration with the algorithm of textbooks.

    Each round sends all memory that the guest dirtied in the round before. `simulate_precopy`
    simulates the algorithm of QEMU.

    Args:
        memory_to_send_mib: Memory in non-zero pages, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and constant durations of the migration, for example the setup time.
            Each round takes the time of the transfer and `dirty_sync_s`.
        limits: The downtime limit and the deadline of the migration.

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
