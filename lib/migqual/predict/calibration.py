"""Measure the link speed and the constant durations of migrations, by migrating an idle guest.

The constant durations are the setup time and the time for the device state. Both are independent
of the guest's memory. Some of the measured migrations have a bandwidth limit, the others have no
limit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from migqual.errors import InconclusiveError
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.predict.precopy import TransferModel
from migqual.units import MIB

DOWNTIME_MS = 300
# bandwidth limits, None for no limit; the first migration only fills caches and does not count
CALIBRATION_LIMITS_MIB_S = (64, 32, None, 64, None, None)
_MIN_DURATION_S = 0.005
_MIN_SPEED_MIB_S = 1.0


@dataclass(frozen=True)
class CalibrationRun:
    """The measured figures of one migration of an idle guest.

    Attributes:
        bandwidth_limit_mib_s: Bandwidth limit in MiB/s. None means that no limit was set.
        total_s: Duration of the migration in s.
        transfer_s: Time from the first byte to the last byte in s, including the downtime.
        downtime_s: Downtime in s.
        sent_mib: Memory sent as normal pages, without zero pages, in MiB.
        dirty_log_s: Setup time that QEMU reports, in s. In this time QEMU turns on the dirty log.
    """

    bandwidth_limit_mib_s: float | None
    total_s: float
    transfer_s: float
    downtime_s: float
    sent_mib: float
    dirty_log_s: float = 0.0


@dataclass(frozen=True)
class TransferCalibration:
    """The link speed and the constant durations of migrations, measured with an idle guest.

    Attributes:
        setup_s: Time from the start of the migration to the first byte of memory, in s.
        link_mib_s: Speed without a bandwidth limit, in MiB/s.
        device_state_s: Part of the downtime for the device state and the switch-over, in s.
        dirty_log_s: Part of `setup_s` that QEMU needs to turn on the dirty log, in s.
    """

    setup_s: float
    link_mib_s: float
    device_state_s: float
    dirty_log_s: float = 0.0

    def build_transfer_model(self, bandwidth_limit_mib_s: float | None) -> TransferModel:
        """Build the model of a migration with a bandwidth limit. None means no limit."""
        bandwidth_mib_s = (
            self.link_mib_s
            if bandwidth_limit_mib_s is None
            else min(bandwidth_limit_mib_s, self.link_mib_s)
        )
        return TransferModel(
            bandwidth_mib_s, self.link_mib_s, self.setup_s, device_state_s=self.device_state_s
        )


def calibrate_transfer(
    runs: Sequence[CalibrationRun], *, downtime_limit_s: float
) -> TransferCalibration:
    """Calculate the link speed and the constant durations from migrations of an idle guest.

    The migrations without a bandwidth limit show the link speed. Each migration shows the time for
    the device state. In the downtime, QEMU sends the remaining memory (the memory that is not yet
    sent when QEMU pauses the guest) at the link speed, and then the device state. So the function
    subtracts the time for the remaining memory from the downtime.

    The size of the remaining memory depends on the bandwidth limit:

    - With a limit, the size is bandwidth limit times downtime limit.
    - Without a limit, the size is 0, because QEMU pauses the guest only when all memory is sent.
      The migration is so short that QEMU cannot measure the bandwidth.

    Args:
        runs: Figures of at least one migration with and one without a bandwidth limit.
        downtime_limit_s: Downtime limit of the migrations in s.

    Returns:
        The median of each figure.

    Raises:
        ValueError: All migrations have a limit, or no migration has a limit.
    """
    limited_runs = [run for run in runs if run.bandwidth_limit_mib_s is not None]
    unlimited_runs = [run for run in runs if run.bandwidth_limit_mib_s is None]
    if not limited_runs or not unlimited_runs:
        raise ValueError(
            "calibration needs migrations with a bandwidth limit and migrations without a limit"
        )
    setup_s = median(run.total_s - run.transfer_s for run in runs)
    link_mib_s = median(_calculate_speed_mib_s(run) for run in unlimited_runs)
    device_state_s = median(
        run.downtime_s - _estimate_last_mib(run, downtime_limit_s) / link_mib_s for run in runs
    )
    return TransferCalibration(
        max(_MIN_DURATION_S, setup_s),
        link_mib_s,
        max(_MIN_DURATION_S, device_state_s),
        median(run.dirty_log_s for run in runs),
    )


def _calculate_speed_mib_s(run: CalibrationRun) -> float:
    return max(
        _MIN_SPEED_MIB_S, run.sent_mib / max(_MIN_DURATION_S, run.transfer_s - run.downtime_s)
    )


def _estimate_last_mib(run: CalibrationRun, downtime_limit_s: float) -> float:
    return min(run.sent_mib, (run.bandwidth_limit_mib_s or 0.0) * downtime_limit_s)


def run_calibration(migrate: Callable[[Plan], Outcome]) -> TransferCalibration:
    """Migrate an idle guest several times, and calculate link speed and constant durations.

    The first migration fills the caches of the hosts. The result does not include this migration.

    Args:
        migrate: Function that migrates the idle guest with a plan.

    Returns:
        The link speed and the constant durations.
    """
    _, *runs = [
        extract_calibration_run(migrate(Plan(bandwidth_mib_s=limit, downtime_ms=DOWNTIME_MS)))
        for limit in CALIBRATION_LIMITS_MIB_S
    ]
    return calibrate_transfer(runs, downtime_limit_s=DOWNTIME_MS / 1000)


def extract_calibration_run(outcome: Outcome) -> CalibrationRun:
    """Extract the figures of a calibration migration from libvirt's job statistics.

    The transfer time is the processed memory divided by the speed that libvirt reports.

    Raises:
        InconclusiveError: A job statistic is missing or zero.
    """
    stats = outcome.stats
    if not (
        stats.total_time_ms
        and stats.downtime_ms
        and stats.normal_bytes
        and stats.memory_processed_bytes
        and stats.memory_bytes_per_s
    ):
        raise InconclusiveError(
            f"libvirt reports incomplete statistics of a calibration migration: {stats.values}"
        )
    bandwidth_limit_mib_s = outcome.plan.bandwidth_mib_s
    return CalibrationRun(
        bandwidth_limit_mib_s,
        stats.total_time_ms / 1000,
        stats.memory_processed_bytes / stats.memory_bytes_per_s,
        stats.downtime_ms / 1000,
        stats.normal_bytes / MIB,
        (stats.setup_time_ms or 0) / 1000,
    )
