"""Predict migrations of test guests, and compare the predictions with the results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from migqual.errors import InconclusiveError
from migqual.model.outcome import Outcome
from migqual.model.percentile import compute_percentile
from migqual.model.plan import Plan
from migqual.predict.calibration import DOWNTIME_MS, TransferCalibration
from migqual.predict.guest_measurement import GuestMeasurement
from migqual.predict.precopy import (
    MigrationLimits,
    Prediction,
    is_near_boundary,
    simulate_precopy,
    simulate_textbook_precopy,
)


@dataclass(frozen=True)
class EvaluatedPrediction:
    """A prediction with the data to evaluate the accuracy of the prediction.

    Attributes:
        near_boundary: Whether a change of the dirty rate by 10 % changes the predicted
            convergence. Such a prediction does not count for the accuracy.
        textbook_prediction: Prediction of `simulate_textbook_precopy`, for comparison.
    """

    prediction: Prediction
    near_boundary: bool
    textbook_prediction: Prediction


@dataclass(frozen=True)
class PredictionTrial:
    """A predicted migration and the result of the migration.

    Attributes:
        converged: Whether the migration converged before its deadline.
        total_s: Measured total time. None means that the migration did not converge.
        downtime_s: Measured downtime. None means that the migration did not converge.
        dirty_log_delay_s: Measured time to turn on the dirty log, minus the calibrated time. An
            emulated guest that writes memory delays QEMU by up to 0.4 s. The prediction does not
            know this delay, so the delay does not count as an error of the prediction.
        damage: Damage of the guest's memory or disks after the migration. The text is empty if
            the guest is intact.
    """

    name: str
    evaluated_prediction: EvaluatedPrediction
    converged: bool
    total_s: float | None
    downtime_s: float | None
    dirty_log_delay_s: float = 0.0
    damage: str = ""

    @property
    def prediction(self) -> Prediction:
        """Return the prediction made before the migration."""
        return self.evaluated_prediction.prediction

    @property
    def near_boundary(self) -> bool:
        """Return whether a change of the dirty rate by 10 % changes the predicted convergence."""
        return self.evaluated_prediction.near_boundary

    @property
    def total_error(self) -> float | None:
        """Return the signed error of the predicted total time, as a share of the measured time.

        The measured time is without `dirty_log_delay_s`. The error is None if the predicted or the
        real migration does not converge.
        """
        return _calculate_error(
            self.prediction, self.prediction.total_s, self._total_without_delay_s
        )

    @property
    def _total_without_delay_s(self) -> float | None:
        return None if self.total_s is None else self.total_s - self.dirty_log_delay_s

    @property
    def downtime_error(self) -> float | None:
        """Return the signed error of the predicted downtime, as a share of the measured value."""
        return _calculate_error(self.prediction, self.prediction.downtime_s, self.downtime_s)

    @property
    def textbook_error(self) -> float | None:
        """Return the error of the total time that `simulate_textbook_precopy` predicts.

        The calculation is the same as for `total_error`. `simulate_textbook_precopy` simulates
        complete rounds, as textbooks do. QEMU does not wait for the end of a round.
        """
        return _calculate_error(
            self.evaluated_prediction.textbook_prediction,
            self.evaluated_prediction.textbook_prediction.total_s,
            self._total_without_delay_s,
        )

    def build_record(self) -> dict[str, Any]:
        """Build the entry of the trial in `prediction.json`, with prediction, result and errors."""
        record: dict[str, Any] = asdict(self)
        prediction_record: dict[str, Any] = record.pop("evaluated_prediction")
        errors = {"total_error": self.total_error, "downtime_error": self.downtime_error}
        return {"name": record.pop("name")} | prediction_record | record | errors

    @property
    def is_correct(self) -> bool:
        """Return whether the predicted convergence is the same as the measured convergence."""
        return self.prediction.converges == self.converged


@dataclass(frozen=True)
class PredictionScore:
    """The accuracy of the predictions of several migrations (trials).

    The error of a predicted time is a share of the measured time. If no trial has an error of a
    kind, the percentile of this kind is None.
    """

    trials: tuple[PredictionTrial, ...]

    @property
    def confusion_matrix(self) -> dict[str, int]:
        """Count the trials by predicted and real convergence.

        The key ``converges / does not converge`` counts the migrations that were predicted to
        converge, and did not converge. Trials near the boundary of convergence do not count.
        """
        names = {True: "converges", False: "does not converge"}
        counts = {
            f"{predicted} / {actual}": 0
            for predicted in names.values()
            for actual in names.values()
        }
        for trial in self._counted_trials:
            counts[f"{names[trial.prediction.converges]} / {names[trial.converged]}"] += 1
        return counts

    @property
    def accuracy(self) -> float | None:
        """Return the share of trials with correctly predicted convergence, 0 to 1.

        Trials near the boundary of convergence do not count. If no trial counts, the share is None.
        """
        counted_trials = self._counted_trials
        return (
            sum(trial.is_correct for trial in counted_trials) / len(counted_trials)
            if counted_trials
            else None
        )

    def calculate_total_error(self, fraction: float) -> float | None:
        """Calculate a percentile of the absolute `total_error` values of all trials.

        For example, `fraction` 0.5 gives the median.
        """
        return _compute_percentile([trial.total_error for trial in self.trials], fraction)

    def calculate_downtime_error(self, fraction: float) -> float | None:
        """Calculate a percentile of the absolute `downtime_error` values of all trials.

        For example, `fraction` 0.5 gives the median.
        """
        return _compute_percentile([trial.downtime_error for trial in self.trials], fraction)

    def calculate_textbook_error(self, fraction: float) -> float | None:
        """Calculate a percentile of the absolute `textbook_error` values of all trials.

        `textbook_error` compares the total time that `simulate_textbook_precopy` predicts with the
        measured total time. For example, `fraction` 0.5 gives the median.
        """
        return _compute_percentile([trial.textbook_error for trial in self.trials], fraction)

    @property
    def _counted_trials(self) -> list[PredictionTrial]:
        """Return the trials that are not near the boundary of convergence."""
        return [trial for trial in self.trials if not trial.near_boundary]

    def build_record(self) -> dict[str, Any]:
        """Build the contents of `prediction.json`, with percentiles of errors and all trials."""
        return {
            "total_time_error_p50": self.calculate_total_error(0.5),
            "total_time_error_p90": self.calculate_total_error(0.9),
            "downtime_error_p50": self.calculate_downtime_error(0.5),
            "downtime_error_p90": self.calculate_downtime_error(0.9),
            "textbook_total_time_error_p90": self.calculate_textbook_error(0.9),
            "convergence_accuracy": self.accuracy,
            "confusion": self.confusion_matrix,
            "excluded_near_the_boundary": sum(trial.near_boundary for trial in self.trials),
            "trials": [trial.build_record() for trial in self.trials],
        }


def _calculate_delay_s(outcome: Outcome, calibration: TransferCalibration) -> float:
    setup_ms = outcome.stats.setup_time_ms
    return 0.0 if setup_ms is None else setup_ms / 1000 - calibration.dirty_log_s


def _calculate_error(
    prediction: Prediction, predicted_s: float, measured_s: float | None
) -> float | None:
    return (predicted_s - measured_s) / measured_s if measured_s and prediction.converges else None


def _compute_percentile(errors: Sequence[float | None], fraction: float) -> float | None:
    """Compute a percentile of the absolute errors; return None if all errors are None."""
    magnitudes = [abs(error) for error in errors if error is not None]
    return compute_percentile(magnitudes, fraction) if magnitudes else None


def predict_migration(
    measurement: GuestMeasurement, calibration: TransferCalibration, plan: Plan
) -> EvaluatedPrediction:
    """Predict a migration with the algorithm of QEMU (`simulate_precopy`).

    For comparison, the result also contains the prediction of `simulate_textbook_precopy`.
    """
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
    """Calculate after how many seconds a migration of a trial is aborted.

    In this time, QEMU can send the non-zero memory of the guest 2.5 times at the bandwidth limit.
    """
    return calibration.setup_s + 2.5 * measurement.memory_to_send_mib / bandwidth_mib_s + 1.0


def score_trial(
    name: str,
    evaluated_prediction: EvaluatedPrediction,
    outcome: Outcome,
    calibration: TransferCalibration,
    *,
    converged: bool,
    damage: str,
) -> PredictionTrial:
    """Build the trial, which combines the prediction with the outcome of the migration.

    Args:
        name: Name of the trial.
        evaluated_prediction: The prediction made before the migration.
        outcome: The outcome of the migration.
        calibration: The calibration with which the prediction was made.
        converged: Whether the migration converged before its deadline.
        damage: Damage of the guest's memory or disks. The text is empty if the guest is intact.

    Returns:
        The trial.

    Raises:
        InconclusiveError: libvirt reported no total time or no downtime of the migration.
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
    total_ms, downtime_ms = outcome.stats.total_time_ms, outcome.stats.downtime_ms
    if total_ms is None or downtime_ms is None:
        raise InconclusiveError(
            f"libvirt reported no total time or no downtime of the migration {name}"
        )
    return PredictionTrial(
        name,
        evaluated_prediction,
        converged=True,
        total_s=total_ms / 1000,
        downtime_s=downtime_ms / 1000,
        dirty_log_delay_s=_calculate_delay_s(outcome, calibration),
        damage=damage,
    )
