"""Pure: predictions against what happened."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from migqual.predict.precopy import Prediction


@dataclass(frozen=True)
class Told:
    """A prediction. banded: too near the boundary to count for the verdict; textbook: what whole
    rounds would make of it, for comparison."""

    foretold: Prediction
    banded: bool
    textbook: Prediction


@dataclass(frozen=True)
class Cell:
    """One migration, foretold first. total_s and down_s None where it did not converge in time."""

    name: str
    told: Told
    converged: bool
    total_s: float | None
    down_s: float | None
    damage: str = ""

    @property
    def foretold(self) -> Prediction:
        return self.told.foretold

    @property
    def banded(self) -> bool:
        return self.told.banded

    @property
    def total_error(self) -> float | None:
        """Signed, of what happened; None where there is nothing to compare."""
        return _error(self.foretold, self.foretold.total_s, self.total_s)

    @property
    def down_error(self) -> float | None:
        return _error(self.foretold, self.foretold.down_s, self.down_s)

    @property
    def textbook_error(self) -> float | None:
        """Of the total time, had whole rounds foretold it."""
        return _error(self.told.textbook, self.told.textbook.total_s, self.total_s)

    def as_data(self) -> dict[str, Any]:
        """Flat: what was told beside what happened."""
        data: dict[str, Any] = asdict(self)
        told: dict[str, Any] = data.pop("told")
        errors = {"total_error": self.total_error, "downtime_error": self.down_error}
        return {"name": data.pop("name")} | told | data | errors

    @property
    def right(self) -> bool:
        return self.foretold.converges == self.converged


@dataclass(frozen=True)
class Score:
    """Errors are shares of what happened; None without a cell that has one. `confusion` counts
    cells outside the band: foretold, then happened."""

    cells: tuple[Cell, ...]

    @property
    def confusion(self) -> dict[str, int]:
        names = {True: "converges", False: "does not"}
        found = {f"{a} / {b}": 0 for a in names.values() for b in names.values()}
        for cell in self._counted:
            found[f"{names[cell.foretold.converges]} / {names[cell.converged]}"] += 1
        return found

    @property
    def accuracy(self) -> float | None:
        counted = self._counted
        return sum(cell.right for cell in counted) / len(counted) if counted else None

    def total_error(self, share: float) -> float | None:
        return _rank([cell.total_error for cell in self.cells], share)

    def down_error(self, share: float) -> float | None:
        return _rank([cell.down_error for cell in self.cells], share)

    def textbook_error(self, share: float) -> float | None:
        return _rank([cell.textbook_error for cell in self.cells], share)

    @property
    def _counted(self) -> list[Cell]:
        return [cell for cell in self.cells if not cell.banded]

    def as_data(self) -> dict[str, Any]:
        """As `prediction.json` keeps it."""
        return {
            "total_time_error_p50": self.total_error(0.5),
            "total_time_error_p90": self.total_error(0.9),
            "downtime_error_p50": self.down_error(0.5),
            "downtime_error_p90": self.down_error(0.9),
            "textbook_total_time_error_p90": self.textbook_error(0.9),
            "convergence_accuracy": self.accuracy,
            "confusion": self.confusion,
            "excluded_near_the_boundary": sum(cell.banded for cell in self.cells),
            "cells": [cell.as_data() for cell in self.cells],
        }


def _error(told: Prediction, foretold: float, real: float | None) -> float | None:
    return (foretold - real) / real if real and told.converges else None


def _rank(errors: Sequence[float | None], share: float) -> float | None:
    """The smallest error, without its sign, that `share` of them do not exceed."""
    known = sorted(abs(error) for error in errors if error is not None)
    return known[max(0, math.ceil(share * len(known)) - 1)] if known else None
