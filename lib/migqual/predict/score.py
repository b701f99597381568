"""Pure: predictions against what happened."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from migqual.predict.model import Prediction


@dataclass(frozen=True)
class Cell:
    """One migration, foretold first. banded: too near the boundary to count for the verdict;
    total_s and down_s None where it did not converge in time."""

    name: str
    foretold: Prediction
    banded: bool
    converged: bool
    total_s: float | None
    down_s: float | None
    damage: str = ""

    @property
    def total_error(self) -> float | None:
        """Signed, of what happened; None where there is nothing to compare."""
        return self._error(self.foretold.total_s, self.total_s)

    @property
    def down_error(self) -> float | None:
        return self._error(self.foretold.down_s, self.down_s)

    def _error(self, foretold: float, real: float | None) -> float | None:
        if real is None or not real or not self.foretold.converges:
            return None
        return (foretold - real) / real

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
            "convergence_accuracy": self.accuracy,
            "confusion": self.confusion,
            "excluded_near_the_boundary": sum(cell.banded for cell in self.cells),
            "cells": [
                asdict(cell) | {"total_error": cell.total_error, "downtime_error": cell.down_error}
                for cell in self.cells
            ],
        }


def _rank(errors: Sequence[float | None], share: float) -> float | None:
    """The smallest error, without its sign, that `share` of them do not exceed."""
    known = sorted(abs(error) for error in errors if error is not None)
    return known[max(0, math.ceil(share * len(known)) - 1)] if known else None
