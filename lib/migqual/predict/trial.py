"""Foretell a migration of one of our guests, and what happened beside it."""

from collections.abc import Callable

from migqual.errors import InconclusiveError
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.predict.calibrate import Calibrated, Quiet, calibrated
from migqual.predict.look import Seen
from migqual.predict.precopy import Wanted, band, foretell
from migqual.predict.score import Cell, Told
from migqual.predict.textbook import rounds

DOWNTIME_MS = 300
REFERENCES_MIB_S = (64, 32, None, 64, None, None)  # limits; the first pays for what is cold
_MIB = 2**20


def references(migrate: Callable[[Plan], Outcome]) -> Calibrated:
    """What migrations of the guest at rest tell of the link and the stack."""
    _, *quiets = [
        quiet(migrate(Plan(bandwidth_mib_s=limit, downtime_ms=DOWNTIME_MS)))
        for limit in REFERENCES_MIB_S
    ]
    return calibrated(quiets, downtime_s=DOWNTIME_MS / 1000)


def quiet(outcome: Outcome) -> Quiet:
    """The figures of a reference, from the stack's own (virDomainGetJobStats): its speed is of the
    time in which it moved bytes. Raises `InconclusiveError` where it told none."""
    names = ("time_elapsed", "downtime", "memory_normal_bytes", "memory_processed", "memory_bps")
    told = [int(outcome.stats.get(name) or 0) for name in names]
    total, down, normal, processed, bps = told
    if not all(told):
        raise InconclusiveError(f"the reference migration told no figures: {dict(outcome.stats)}")
    limit = outcome.plan.bandwidth_mib_s
    return Quiet(limit, total / 1000, processed / bps, down / 1000, normal / _MIB)


def foreseen(seen: Seen, known: Calibrated, plan: Plan) -> Told:
    """The prediction under `plan`, and whether it is too near the boundary to be held to it."""
    wanted = Wanted((plan.downtime_ms or DOWNTIME_MS) / 1000, plan.deadline_s)
    given = (seen.memory_mib, seen.load, known.carrier(plan.bandwidth_mib_s), wanted)
    return Told(foretell(*given), banded=band(*given), textbook=rounds(*given))


def deadline_s(seen: Seen, known: Calibrated, bandwidth_mib_s: int) -> float:
    """By then a migration that converges is over: the memory, and one and a half times as much."""
    return known.setup_s + 2.5 * seen.memory_mib / bandwidth_mib_s + 1.0


def scored(name: str, told: Told, outcome: Outcome, *, converged: bool, damage: str) -> Cell:
    """What was foretold beside what happened."""
    if not converged:
        return Cell(name, told, converged=False, total_s=None, down_s=None, damage=damage)
    total, down = (int(outcome.stats[key]) / 1000 for key in ("time_elapsed", "downtime"))
    return Cell(name, told, converged=True, total_s=total, down_s=down, damage=damage)
