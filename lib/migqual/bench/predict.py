"""How true predictions are: a grid of rates, working sets and bandwidths, each foretold and then
migrated."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migqual import places
from migqual.bench import rig
from migqual.bench.rig import Rig
from migqual.errors import MigrationTimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.region import region
from migqual.migration.run import migrate
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.inventory import Inventory
from migqual.model.plan import Plan
from migqual.observe import integrity
from migqual.predict import trial
from migqual.predict.calibrate import Calibrated
from migqual.predict.look import look
from migqual.predict.score import Cell, Score

SPEC = GuestSpec(load=Load("witness", memory=MemoryLoad(mib=8)))
BANDWIDTHS_MIB_S = (16, 32, 64)
SETS_MIB = (8, 32, 96)
RATIOS = (0.2, 0.5, 0.8, 1.5)  # of the dirty rate to the bandwidth
_PATTERNS = (Pattern.RANDOM, Pattern.SEQUENTIAL, Pattern.HOT_SPOT)


@dataclass(frozen=True)
class Point:
    """One cell of the grid."""

    bandwidth_mib_s: int
    load: MemoryLoad

    def __str__(self) -> str:
        load = self.load
        return f"{load.rate_mib_s} MiB/s {load.pattern} in {load.mib} MiB, {self.bandwidth_mib_s}"


def grid(cells: int | None = None) -> list[Point]:
    """All points, or about `cells` of them spread over the grid; patterns take turns."""
    found = [
        Point(
            bandwidth,
            MemoryLoad(
                size, round(ratio * bandwidth), pattern_of(2 * row + column), touch="header"
            ),
        )
        for bandwidth in BANDWIDTHS_MIB_S
        for row, size in enumerate(SETS_MIB)
        for column, ratio in enumerate(RATIOS)
    ]
    if cells is None or cells >= len(found):
        return found
    return [found[number * len(found) // cells] for number in range(cells)]


def pattern_of(number: int) -> Pattern:
    return _PATTERNS[number % len(_PATTERNS)]


def measure(inventory: Inventory, *, cells: int | None, say: Callable[[str], None]) -> Score:
    """Foretell and migrate each point of the grid with one guest."""
    with (
        rig.rig(inventory) as found,
        found.provision.guest(SPEC, found.source, found.destination) as guest,
    ):
        known = trial.references(lambda plan: migrate(guest, found.other(guest), plan))
        say(
            f"setup {known.setup_s:.2f} s, link {known.link_mib_s:.0f} MiB/s, "
            f"devices {known.devices_s * 1000:.0f} ms"
        )
        done = []
        for point in grid(cells):
            done.append(cell(found, guest, point, known))
            say(line(done[-1]))
    return Score(tuple(done))


def cell(found: Rig, guest: Guest, point: Point, known: Calibrated) -> Cell:
    """Foretell, then migrate. What does not converge is aborted in time, and must be unharmed."""
    with region(guest, point.load) as dirtied:
        seen = look(guest.host, guest.domain, found.tools)
        deadline = trial.deadline_s(seen, known, point.bandwidth_mib_s)
        plan = Plan(
            bandwidth_mib_s=point.bandwidth_mib_s,
            downtime_ms=trial.DOWNTIME_MS,
            deadline_s=deadline,
        )
        told = trial.foreseen(seen, known, plan)
        try:
            outcome, converged = migrate(guest, found.other(guest), plan), True
        except MigrationTimedOut as error:
            outcome, converged = error.outcome, False
        damage = "; ".join(filter(None, [dirtied.damage(), *integrity.complaints(guest)]))
    return trial.scored(str(point), told, outcome, converged=converged, damage=damage)


def line(done: Cell) -> str:
    """One cell, as it is printed when it is over."""
    told = f"{done.foretold.total_s:6.2f} s" if done.foretold.converges else "   never"
    real = "   never" if done.total_s is None else f"{done.total_s:6.2f} s"
    rest = "" if done.down_s is None else f"  rest {done.foretold.down_s:.3f} / {done.down_s:.3f} s"
    mark = "  near the boundary" if done.banded else "" if done.right else "  WRONG"
    return f"{done.name:46}{told} foretold {real}{rest}{mark}{'  ' + done.damage}".rstrip()


def lines(found: Score) -> Iterator[str]:
    """What `migqual bench predict` prints at the end."""
    yield "confusion, foretold / happened: " + ", ".join(
        f"{name}: {count}" for name, count in found.confusion.items()
    )
    banded = sum(one.banded for one in found.cells)
    yield f"cells: {len(found.cells)}, near the boundary and not counted there: {banded}"
    rows = {
        "total time": found.total_error,
        "total time, had whole rounds foretold it": found.textbook_error,
        "downtime": found.down_error,
    }
    for name, of in rows.items():
        yield f"error of {name}: p50 {_percent(of(0.5))}, p90 {_percent(of(0.9))}"
    yield f"convergence right: {_percent(found.accuracy)}"


def write(found: Score, folder: Path = places.OUT) -> Path:
    """`prediction.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prediction.json"
    file.write_text(json.dumps(found.as_data(), indent=2) + "\n", encoding="utf-8")
    return file


def _percent(share: float | None) -> str:
    return "no figure" if share is None else f"{share * 100:.1f} %"
