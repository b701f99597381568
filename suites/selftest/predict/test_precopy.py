"""Pre-copy as in QEMU, calibration, setting choices and score, compared with hand calculations."""

import math

import pytest

from migqual.model.job_stats import JobStats
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Plan
from migqual.predict.calibration import CalibrationRun, TransferCalibration, calibrate_transfer
from migqual.predict.dirty_curve import (
    DirtyModel,
    build_cyclic_curve,
    build_saturating_curve,
    fit_dirty_model,
)
from migqual.predict.precopy import (
    MigrationLimits,
    Prediction,
    TransferModel,
    is_near_boundary,
    simulate_precopy,
)
from migqual.predict.score import (
    EvaluatedPrediction,
    PredictionScore,
    PredictionTrial,
    score_trial,
)
from migqual.predict.setting_choices import (
    AUTO_CONVERGE,
    POSTCOPY,
    MigrationScenario,
    SettingChoice,
    list_setting_choices,
)

pytestmark = pytest.mark.selftest

TRANSFER_MODEL = TransferModel(
    bandwidth_mib_s=32.0, paused_bandwidth_mib_s=320.0, setup_s=1.0, device_state_s=0.05
)
LIMITS = MigrationLimits(downtime_limit_s=0.3, deadline_s=60.0)


def test_idle_guest_pauses_when_the_remaining_memory_fits() -> None:
    """QEMU pauses an idle guest as soon as the remaining memory fits into the downtime limit.

    At the bandwidth limit of 32 MiB/s, 9.6 MiB fit into the downtime limit of 0.3 s. So QEMU pauses
    the guest when 9.6 MiB remain. While the guest is paused, no bandwidth limit applies: QEMU sends
    the last 9.6 MiB at the link speed of 320 MiB/s.
    """
    prediction = simulate_precopy(
        105.6, DirtyModel(build_cyclic_curve(0, 0)), TRANSFER_MODEL, LIMITS
    )

    assert prediction.converges
    assert prediction.sent_mib == pytest.approx(105.6)
    assert prediction.downtime_s == pytest.approx(0.05 + 9.6 / 320, abs=0.011)
    assert prediction.total_s == pytest.approx(1.0 + 3.0 + prediction.downtime_s, abs=0.11)


def test_small_working_set_converges_at_any_dirty_rate() -> None:
    assert simulate_precopy(
        200.0, DirtyModel(build_cyclic_curve(1000.0, 8.0), 8.0), TRANSFER_MODEL, LIMITS
    ).converges


def test_dirty_rate_above_the_bandwidth_does_not_converge() -> None:
    prediction = simulate_precopy(
        200.0, DirtyModel(build_cyclic_curve(48.0, 96.0), 96.0), TRANSFER_MODEL, LIMITS
    )

    assert not prediction.converges
    assert prediction.total_s >= LIMITS.deadline_s


def test_migration_beyond_the_deadline_does_not_converge() -> None:
    assert not simulate_precopy(
        200.0, DirtyModel(build_cyclic_curve(0, 0)), TRANSFER_MODEL, MigrationLimits(0.3, 5.0)
    ).converges


def test_prediction_without_a_deadline_ends() -> None:
    """Without a deadline, the maximum number of rounds ends the prediction."""
    assert not simulate_precopy(
        200.0, DirtyModel(build_cyclic_curve(64.0, 96.0)), TRANSFER_MODEL, MigrationLimits(0.3)
    ).converges


def test_only_dirty_rates_near_the_boundary_are_marked() -> None:
    """A dirty rate is near the boundary of convergence if a change by 10 % changes the prediction.

    Expected: neither the lowest nor the highest dirty rate is near the boundary. At least one dirty
    rate in between is near the boundary.
    """
    near_boundary = [
        is_near_boundary(
            200.0,
            DirtyModel(build_cyclic_curve(float(rate_mib_s), 96.0), 96.0),
            TRANSFER_MODEL,
            LIMITS,
        )
        for rate_mib_s in range(2, 64, 1)
    ]

    assert not near_boundary[0]
    assert not near_boundary[-1]
    assert any(near_boundary)


def test_random_load_dirties_pending_pages_again() -> None:
    """A random load converges, but a sequential load with the same dirty rate does not converge.

    The working set has 8 MiB, and QEMU can send 4.8 MiB within the downtime limit. A random load
    often writes to dirty pages that QEMU has not sent yet (pending pages). So after some
    iterations, the remaining memory of the random load is below 4.8 MiB.
    """
    transfer_model = TransferModel(bandwidth_mib_s=16.0, paused_bandwidth_mib_s=320.0)

    cyclic_prediction = simulate_precopy(
        100.0, DirtyModel(build_cyclic_curve(24.0, 8.0), 8.0), transfer_model, LIMITS
    )
    random_model = DirtyModel(build_saturating_curve(24.0, 8.0), 8.0, is_random=True)

    assert not cyclic_prediction.converges
    assert simulate_precopy(100.0, random_model, transfer_model, LIMITS).converges


def test_calibration_separates_setup_from_transfer() -> None:
    """The calibration calculates link speed, setup time and the time for the device state.

    The setup time is the total time minus the transfer time. In the downtime, QEMU sends the
    remaining memory at link speed, and then the device state. So the time for the device state is
    the downtime minus the time for the remaining memory.
    """
    runs = [
        CalibrationRun(32.0, 2.8 + 0.9, 2.8, downtime_s=0.1, sent_mib=96.0, dirty_log_s=0.3),
        CalibrationRun(64.0, 1.4 + 0.8, 1.4, downtime_s=0.13, sent_mib=96.0, dirty_log_s=0.1),
        CalibrationRun(None, 0.37 + 1.1, 0.37, downtime_s=0.07, sent_mib=96.0, dirty_log_s=0.2),
    ]

    calibration = calibrate_transfer(runs, downtime_limit_s=0.3)

    assert calibration.setup_s == pytest.approx(0.9)
    assert calibration.link_mib_s == pytest.approx(320.0)
    assert calibration.dirty_log_s == pytest.approx(0.2)
    assert calibration.device_state_s == pytest.approx(0.07)
    assert calibration.build_transfer_model(None).bandwidth_mib_s == calibration.link_mib_s
    assert calibration.build_transfer_model(16).bandwidth_mib_s == 16


@pytest.mark.parametrize("bandwidth_limit_mib_s", [None, 32.0])
def test_calibration_needs_runs_with_and_without_a_limit(
    bandwidth_limit_mib_s: float | None,
) -> None:
    with pytest.raises(ValueError, match="calibration needs"):
        calibrate_transfer(
            [CalibrationRun(bandwidth_limit_mib_s, 3.0, 2.0, 0.1, 96.0)], downtime_limit_s=0.3
        )


def test_settings_help_a_guest_that_does_not_converge() -> None:
    dirty_model = fit_dirty_model(
        {seconds: build_cyclic_curve(48.0, 96.0)(seconds) for seconds in (1.0, 2.0, 4.0)}
    )

    predictions = {
        choice.setting: choice.prediction
        for choice in list_setting_choices(
            MigrationScenario(200, dirty_model, TRANSFER_MODEL, LIMITS), {}
        )
    }

    requested_prediction = predictions.pop("as requested")
    assert requested_prediction is not None
    assert not requested_prediction.converges
    for setting in ("downtime", "bandwidth", "auto-converge", "post-copy"):
        prediction = predictions[setting]
        assert prediction is not None, setting
        assert prediction.converges, setting


def test_settings_without_the_capability_are_not_suggested() -> None:
    dirty_model = DirtyModel(build_cyclic_curve(48.0, 96.0), 96.0)
    missing_capabilities = {
        POSTCOPY: "b: QEMU 2.0.0 has none",
        AUTO_CONVERGE: "a: QEMU 2.0.0 has none",
    }

    choices_by_setting = {
        choice.setting: choice
        for choice in list_setting_choices(
            MigrationScenario(200, dirty_model, TRANSFER_MODEL, LIMITS), missing_capabilities
        )
    }

    assert choices_by_setting["post-copy"] == SettingChoice(
        "post-copy", missing_capabilities[POSTCOPY], None
    )
    assert choices_by_setting["auto-converge"] == SettingChoice(
        "auto-converge", missing_capabilities[AUTO_CONVERGE], None
    )
    assert "--parallel" in choices_by_setting["channels"].option


def test_bandwidth_limit_at_link_speed_cannot_be_raised() -> None:
    """If the link limits the bandwidth, a higher bandwidth limit cannot help."""
    dirty_model = DirtyModel(build_cyclic_curve(48.0, 96.0), 96.0)
    scenario = MigrationScenario(200, dirty_model, TransferModel(32.0, 32.0), LIMITS)

    choices_by_setting = {choice.setting: choice for choice in list_setting_choices(scenario, {})}

    assert choices_by_setting["bandwidth"].prediction is None
    assert "link" in choices_by_setting["bandwidth"].option


CONVERGING = Prediction(converges=True, rounds=1, total_s=11.0, downtime_s=0.2, sent_mib=1.0)
NON_CONVERGING = Prediction(
    converges=False, rounds=1, total_s=math.inf, downtime_s=0.2, sent_mib=1.0
)


def make_trial(
    name: str,
    prediction: Prediction,
    textbook_prediction: Prediction = NON_CONVERGING,
    *,
    total_s: float | None = None,
    near_boundary: bool = False,
) -> PredictionTrial:
    """Make a trial; the migration converged if `total_s` is given."""
    converged = total_s is not None
    return PredictionTrial(
        name,
        EvaluatedPrediction(
            prediction, near_boundary=near_boundary, textbook_prediction=textbook_prediction
        ),
        converged=converged,
        total_s=total_s,
        downtime_s=0.1 if converged else None,
    )


@pytest.mark.parametrize(
    ("stats", "delay_s", "error"),
    [
        ({"setup_time": 700}, 0.5, (11.0 - 10.0) / 10.0),
        ({"setup_time": 100}, -0.1, (11.0 - 10.6) / 10.6),
        ({}, 0.0, (11.0 - 10.5) / 10.5),
    ],
)
def test_time_to_turn_on_the_dirty_log_is_no_error(
    stats: dict[str, int], delay_s: float, error: float
) -> None:
    """A delay in turning on the dirty log does not count as an error of the prediction.

    According to the calibration, QEMU turns on the dirty log in 0.2 s. If QEMU needs 0.7 s in the
    migration, the delay is 0.5 s. The delay is subtracted from the measured total time.
    """
    values = {"time_elapsed": 10500, "downtime": 100} | stats
    outcome = Outcome(
        Plan(), "g", "a1", "b1", "", MigrationStatus.COMPLETED, 10.5, stats=JobStats(values)
    )
    evaluated = EvaluatedPrediction(
        CONVERGING, near_boundary=False, textbook_prediction=NON_CONVERGING
    )

    trial = score_trial(
        "a",
        evaluated,
        outcome,
        TransferCalibration(0.9, 100.0, 0.05, 0.2),
        converged=True,
        damage="",
    )

    assert trial.dirty_log_delay_s == pytest.approx(delay_s)
    assert trial.total_error == pytest.approx(error)


def test_accuracy_excludes_trials_near_the_boundary() -> None:
    score = PredictionScore(
        (
            make_trial("right", CONVERGING, total_s=10.0),
            make_trial("wrong", CONVERGING),
            make_trial("predicted", NON_CONVERGING),
            make_trial("near", NON_CONVERGING, CONVERGING, total_s=9.0, near_boundary=True),
        )
    )

    assert score.accuracy == pytest.approx(2 / 3)
    assert score.calculate_total_error(0.9) == pytest.approx(0.1)
    assert score.calculate_downtime_error(0.5) == pytest.approx(1.0)
    assert score.confusion_matrix["converges / does not converge"] == 1
    assert score.build_record()["excluded_near_the_boundary"] == 1
    assert score.calculate_textbook_error(0.9) == pytest.approx(2 / 9)
    assert score.build_record()["trials"][0]["prediction"]["total_s"] == 11.0
