"""Foretell a migration of one of our guests, and what happened beside it."""

from migqual.errors import InconclusiveError
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.predict.calibrate import Calibrated, Quiet
from migqual.predict.look import Seen
from migqual.predict.model import Prediction
from migqual.predict.qemu import Wanted, band, foretell
from migqual.predict.score import Cell

DOWNTIME_MS = 300
_PAGE = 4096
_MIB = 2**20


def quiet(outcome: Outcome) -> Quiet:
    """The figures of a reference. Raises `InconclusiveError` where the stack told none."""
    total, down, pages = (
        outcome.stats.get(name) for name in ("time_elapsed", "downtime", "memory_normal")
    )
    if total is None or down is None or pages is None:
        raise InconclusiveError(f"the reference migration told no figures: {dict(outcome.stats)}")
    return Quiet(int(total) / 1000, int(down) / 1000, int(pages) * _PAGE / _MIB)


def foreseen(seen: Seen, known: Calibrated, plan: Plan) -> tuple[Prediction, bool]:
    """The prediction under `plan`, and whether it is too near the boundary to be held to it."""
    load = seen.load
    wanted = Wanted((plan.downtime_ms or DOWNTIME_MS) / 1000, plan.deadline_s)
    carrier = known.carrier(plan.bandwidth_mib_s)
    given = (seen.memory_mib, load.curve, carrier, wanted, load.working_set_mib)
    return foretell(*given), band(*given)


def deadline_s(seen: Seen, known: Calibrated, bandwidth_mib_s: int) -> float:
    """By then a migration that converges is over: the memory, and one and a half times as much."""
    return known.setup_s + 2.5 * seen.memory_mib / bandwidth_mib_s + 1.0


def scored(
    name: str, foretold: Prediction, *, banded: bool, outcome: Outcome, converged: bool, damage: str
) -> Cell:
    """What was foretold beside what happened."""
    if not converged:
        return Cell(
            name, foretold, banded, converged=False, total_s=None, down_s=None, damage=damage
        )
    real = quiet(outcome)
    return Cell(name, foretold, banded, True, real.total_s, real.down_s, damage)  # noqa: FBT003
