"""Measure the accuracy of predictions on a grid of dirty rates, working sets and bandwidths.

For each point of the grid, the benchmark predicts a migration and then runs the migration.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migqual import paths
from migqual.errors import MigrationTimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.memory_region import memory_region
from migqual.inventory.entities import Inventory
from migqual.migration.migrate import migrate
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, WritePattern, WrittenPart
from migqual.model.plan import Plan
from migqual.observe import integrity
from migqual.predict.calibration import DOWNTIME_MS, TransferCalibration, run_calibration
from migqual.predict.guest_measurement import measure_dirtying
from migqual.predict.score import (
    PredictionScore,
    PredictionTrial,
    calculate_deadline_s,
    predict_migration,
    score_trial,
)
from migqual.testbed.connection import connect_testbed
from migqual.testbed.testbed import Testbed

GUEST_SPEC = GuestSpec(load=GuestLoad("small-memory", memory=MemoryLoad(size_mib=8)))
BANDWIDTHS_MIB_S = (16, 32, 64)
WORKING_SETS_MIB = (8, 32, 96)
DIRTY_RATIOS = (0.2, 0.5, 0.8, 1.5)  # of the dirty rate to the bandwidth
_PATTERNS = (WritePattern.RANDOM, WritePattern.SEQUENTIAL, WritePattern.HOT_SPOT)


@dataclass(frozen=True)
class GridPoint:
    """A bandwidth limit and a memory load, for which a migration is predicted and measured."""

    bandwidth_mib_s: int
    load: MemoryLoad

    def __str__(self) -> str:
        load = self.load
        return (
            f"{load.pattern} writes of {load.rate_mib_s} MiB/s in {load.size_mib} MiB, "
            f"bandwidth {self.bandwidth_mib_s} MiB/s"
        )


def list_grid_points(point_count: int | None = None) -> list[GridPoint]:
    """List the points of the grid: bandwidth limits, working sets and dirty rates.

    The write patterns alternate from point to point. If `point_count` is given, the function lists
    this number of points, spread evenly over the grid.
    """
    points = [
        GridPoint(
            bandwidth,
            MemoryLoad(
                working_set_mib,
                round(ratio * bandwidth),
                get_pattern(2 * row + column),
                written_part=WrittenPart.HEADER,
            ),
        )
        for bandwidth in BANDWIDTHS_MIB_S
        for row, working_set_mib in enumerate(WORKING_SETS_MIB)
        for column, ratio in enumerate(DIRTY_RATIOS)
    ]
    if point_count is None or point_count >= len(points):
        return points
    return [points[number * len(points) // point_count] for number in range(point_count)]


def get_pattern(number: int) -> WritePattern:
    """Return the write pattern for a number: 0 random, 1 sequential, 2 hot spot, 3 random ..."""
    return _PATTERNS[number % len(_PATTERNS)]


def measure_predictions(
    inventory: Inventory, *, point_count: int | None, report_progress: Callable[[str], None]
) -> PredictionScore:
    """Predict and run a migration of the same guest for each point of the grid.

    A point is a combination of a bandwidth limit and a memory load.

    Args:
        inventory: The inventory with the pair.
        point_count: Number of points of the grid. None means all points.
        report_progress: Function that receives a line of text after each point.
    """
    with (
        connect_testbed(inventory) as testbed,
        testbed.running_guest(GUEST_SPEC) as guest,
    ):
        calibration = run_calibration(
            lambda plan: migrate(guest, testbed.pair.get_peer(guest.host), plan)
        )
        report_progress(
            f"calibration: setup time {calibration.setup_s:.2f} s, "
            f"link speed {calibration.link_mib_s:.0f} MiB/s, "
            f"time for the device state {calibration.device_state_s * 1000:.0f} ms"
        )
        trials = []
        for point in list_grid_points(point_count):
            trials.append(run_prediction_trial(testbed, guest, point, calibration))
            report_progress(format_trial(trials[-1]))
    return PredictionScore(tuple(trials))


def run_prediction_trial(
    testbed: Testbed, guest: Guest, point: GridPoint, calibration: TransferCalibration
) -> PredictionTrial:
    """Predict a migration, run the migration, and compare the prediction with the result.

    `point` contains the bandwidth limit of the migration and the memory load of the guest. A
    migration that does not converge is aborted at the deadline of the migration. After every
    migration, the function checks memory and disks of the guest.
    """
    with memory_region(guest, point.load) as dirty_region:
        measurement = measure_dirtying(guest.host, guest.domain, testbed.probe_context)
        deadline_s = calculate_deadline_s(measurement, calibration, point.bandwidth_mib_s)
        plan = Plan(
            bandwidth_mib_s=point.bandwidth_mib_s,
            downtime_ms=DOWNTIME_MS,
            deadline_s=deadline_s,
        )
        prediction = predict_migration(measurement, calibration, plan)
        try:
            outcome, converged = migrate(guest, testbed.pair.get_peer(guest.host), plan), True
        except MigrationTimedOut as error:
            outcome, converged = error.outcome, False
        violations = "; ".join(
            filter(
                None, [dirty_region.find_bad_pages(), *integrity.find_integrity_violations(guest)]
            )
        )
    return score_trial(
        str(point), prediction, outcome, calibration, converged=converged, damage=violations
    )


def format_trial(scored_trial: PredictionTrial) -> str:
    """Format a finished trial as a line of text with the predicted and the measured times."""
    prediction = scored_trial.prediction
    predicted_time = f"{prediction.total_s:6.2f} s" if prediction.converges else "   never"
    measured_time = "   never" if scored_trial.total_s is None else f"{scored_trial.total_s:6.2f} s"
    downtimes = ""
    if scored_trial.downtime_s is not None:
        downtimes = (
            f"  downtime predicted {prediction.downtime_s:.3f} s  "
            f"measured {scored_trial.downtime_s:.3f} s"
        )
    judgement = "" if scored_trial.is_correct else "  WRONG prediction of convergence"
    if scored_trial.near_boundary:
        judgement = "  prediction near the boundary of convergence"
    times = f"total time predicted {predicted_time}  measured {measured_time}{downtimes}"
    return f"{scored_trial.name:60}{times}{judgement}  {scored_trial.damage}".rstrip()


def format_score(score: PredictionScore) -> Iterator[str]:
    """Yield the last output lines of `migqual bench predict`: accuracy and errors of all trials."""
    yield "number of trials by predicted / measured convergence: " + ", ".join(
        f"{name}: {count}" for name, count in score.confusion_matrix.items()
    )
    boundary_count = sum(scored_trial.near_boundary for scored_trial in score.trials)
    yield (
        f"all trials: {len(score.trials)}; trials near the boundary of convergence, which are not "
        f"counted above: {boundary_count}"
    )
    rows = {
        "total time": score.calculate_total_error,
        "total time by the algorithm of textbooks": score.calculate_textbook_error,
        "downtime": score.calculate_downtime_error,
    }
    for name, compute_error in rows.items():
        p50, p90 = (_format_percent(compute_error(share)) for share in (0.5, 0.9))
        yield f"error of {name}: p50 {p50}, p90 {p90}"
    yield f"trials with correctly predicted convergence: {_format_percent(score.accuracy)}"


def write_prediction_json(score: PredictionScore, folder: Path = paths.DEFAULT_OUTPUT) -> Path:
    """Write the file `prediction.json` into the folder, and return the path of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prediction.json"
    file.write_text(json.dumps(score.build_record(), indent=2) + "\n", encoding="utf-8")
    return file


def _format_percent(fraction: float | None) -> str:
    return "no value" if fraction is None else f"{fraction * 100:.1f} %"
