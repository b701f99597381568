"""Predict a migration of a test guest, and compare the prediction with the result."""

from collections.abc import Callable

from migqual.errors import InconclusiveError
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.predict.calibration import CalibrationRun, TransferCalibration, calibrate_transfer
from migqual.predict.guest_measurement import GuestMeasurement
from migqual.predict.precopy import MigrationLimits, is_near_boundary, simulate_precopy
from migqual.predict.score import EvaluatedPrediction, PredictionTrial
from migqual.predict.textbook import simulate_textbook_precopy
from migqual.units import MIB

DOWNTIME_MS = 300
CALIBRATION_LIMITS_MIB_S = (64, 32, None, 64, None, None)  # limits; the first pays for what is cold


def run_calibration(migrate: Callable[[Plan], Outcome]) -> TransferCalibration:
    """Run migrations of an idle guest, and calibrate the transfer.

    The first migration is a warm-up and does not count.

    Args:
        migrate: Function to migrate the idle guest with a plan.

    Returns:
        The calibration of the link and the stack.
    """
    _, *runs = [
        extract_calibration_run(migrate(Plan(bandwidth_mib_s=limit, downtime_ms=DOWNTIME_MS)))
        for limit in CALIBRATION_LIMITS_MIB_S
    ]
    return calibrate_transfer(runs, downtime_limit_s=DOWNTIME_MS / 1000)


def extract_calibration_run(outcome: Outcome) -> CalibrationRun:
    """Extract the figures of a calibration run from the job statistics (virDomainGetJobStats).

    The reported speed covers only the time of the transfer.

    Raises:
        InconclusiveError: A figure is missing or zero.
    """
    stat_names = (
        "time_elapsed",
        "downtime",
        "memory_normal_bytes",
        "memory_processed",
        "memory_bps",
    )
    stat_values = [int(outcome.stats.get(name) or 0) for name in stat_names]
    total_ms, downtime_ms, normal_bytes, processed_bytes, bytes_per_s = stat_values
    if not all(stat_values):
        raise InconclusiveError(
            f"the calibration migration reported no statistics: {dict(outcome.stats)}"
        )
    bandwidth_limit_mib_s = outcome.plan.bandwidth_mib_s
    return CalibrationRun(
        bandwidth_limit_mib_s,
        total_ms / 1000,
        processed_bytes / bytes_per_s,
        downtime_ms / 1000,
        normal_bytes / MIB,
    )


def predict_migration(
    measurement: GuestMeasurement, calibration: TransferCalibration, plan: Plan
) -> EvaluatedPrediction:
    """Predict the migration with the plan, and judge whether the boundary is near."""
    limits = MigrationLimits((plan.downtime_ms or DOWNTIME_MS) / 1000, plan.deadline_s)
    model_arguments = (
        measurement.memory_to_send_mib,
        measurement.dirty_model,
        calibration.build_transfer_model(plan.bandwidth_mib_s),
        limits,
    )
    return EvaluatedPrediction(
        simulate_precopy(*model_arguments),
        near_boundary=is_near_boundary(*model_arguments),
        textbook_prediction=simulate_textbook_precopy(*model_arguments),
    )


def calculate_deadline_s(
    measurement: GuestMeasurement, calibration: TransferCalibration, bandwidth_mib_s: int
) -> float:
    """Calculate the deadline for a converging migration, in s.

    The time is enough to send the memory, and 1.5 times as much again.
    """
    return calibration.setup_s + 2.5 * measurement.memory_to_send_mib / bandwidth_mib_s + 1.0


def score_trial(
    name: str,
    evaluated_prediction: EvaluatedPrediction,
    outcome: Outcome,
    *,
    converged: bool,
    damage: str,
) -> PredictionTrial:
    """Score the prediction against the outcome of the migration.

    Args:
        name: Name of the trial.
        evaluated_prediction: The prediction made before the migration.
        outcome: The outcome of the migration.
        converged: Whether the migration converged in time.
        damage: Violations found after the migration; empty without violations.

    Returns:
        The trial.
    """
    if not converged:
        return PredictionTrial(
            name,
            evaluated_prediction,
            converged=False,
            total_s=None,
            downtime_s=None,
            damage=damage,
        )
    total_s, downtime_s = (int(outcome.stats[key]) / 1000 for key in ("time_elapsed", "downtime"))
    return PredictionTrial(
        name,
        evaluated_prediction,
        converged=True,
        total_s=total_s,
        downtime_s=downtime_s,
        damage=damage,
    )
