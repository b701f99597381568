"""A guest that stays where it is keeps nothing of the migration that failed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import InconclusiveError, MigrationError
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import AutoConverge, Plan
from suites.convergence.restless import BANDWIDTH_MIB_S, NON_CONVERGING, try_in_vain

Migrate = Callable[..., Outcome]
EndIt = Callable[[Guest, Pair], bool]

# The throttle begins after some four rounds, within the deadline, and does not end the migration:
# what is left of the guest's CPU still dirties faster than the link carries.
CROWDED = Plan(
    bandwidth_mib_s=BANDWIDTH_MIB_S,
    downtime_ms=50,
    auto_converge=AutoConverge(10, 5),
    deadline_s=12,
)
# what QEMU lists of that plan
CHOSEN = {
    "max-bandwidth",
    "downtime-limit",
    "auto-converge",
    "cpu-throttle-initial",
    "cpu-throttle-increment",
}
PARALLEL = {"multifd", "multifd-channels"}


def let_it_run(_guest: Guest, _pair: Pair) -> bool:
    return False


def abort(_guest: Guest, _pair: Pair) -> bool:
    return True


def kill_destination(guest: Guest, pair: Pair) -> bool:
    pids = pair.destination.processes_of(guest.name)
    pair.destination.shell.attempt("kill", "-KILL", *map(str, pids))
    return False


@pytest.mark.requirement("LM-PAR-09")
@pytest.mark.parametrize(
    "channels",
    [
        pytest.param(0, id="one-stream"),
        pytest.param(3, id="parallel", marks=[pytest.mark.extra, pytest.mark.long]),
    ],
)
@pytest.mark.parametrize(
    ("end", "status"),
    [
        (let_it_run, "timed-out"),
        pytest.param(abort, "aborted", marks=pytest.mark.long),
        pytest.param(kill_destination, "failed", marks=pytest.mark.long),
    ],
    ids=["timed-out", "aborted", "failed"],
)
def test_guest_that_stays_keeps_its_parameters(
    end: EndIt,
    status: str,
    channels: int,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
) -> None:
    """
    A migration that ends under way leaves no parameter and no capability behind at the source.

    Preconditions: bandwidth, downtime, throttle and perhaps parallel connections are set; the guest
    is throttled when the deadline passes, somebody aborts it, or the destination's QEMU is killed.
    Expected: other values were in force meanwhile; afterwards the source's QEMU lists the same as
    before, and the guest moves with a plain one.
    """
    guest = make_guest(NON_CONVERGING)
    before = listed(guest)
    meanwhile: list[dict[str, Any]] = []

    def act(sample: JobSample) -> bool:
        if meanwhile or not sample.stats.get("auto_converge_throttle"):
            return False
        meanwhile.append(listed(guest))
        return end(guest, pair)

    with pytest.raises(MigrationError) as ended:
        try_in_vain(migrate, guest, replace(CROWDED, channels=channels), on_sample=act)

    if not meanwhile or ended.value.outcome.status != status:
        raise InconclusiveError(f"ended before anything was tried: {ended.value.message}")
    assert changed(before, meanwhile[0]).keys() >= CHOSEN | (PARALLEL if channels else set())
    assert changed(before, listed(guest)) == {}
    migrate(guest, Plan())


def listed(guest: Guest) -> dict[str, Any]:
    """Every migration parameter and capability of the guest's QEMU."""
    monitor = guest.domain.monitor
    switches = {row["capability"]: row["state"] for row in monitor("query-migrate-capabilities")}
    return {**monitor("query-migrate-parameters"), **switches}


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not as it was: the value from before, and the one of now."""
    names = before.keys() | after.keys()
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
