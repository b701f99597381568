"""Guests that dirty memory faster than it can be sent: throttled, suspended, or given up."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationTimedOut
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import AutoConverge, Plan, Timeout
from migqual.model.profile import Profile
from suites.convergence.restless import (
    BANDWIDTH_MIB_S,
    HOPELESS_S,
    NON_CONVERGING,
    RESTLESS,
    RESTLESS_BANDWIDTH_MIB_S,
    iterations,
    try_in_vain,
)

Migrate = Callable[..., Outcome]


@pytest.mark.requirement("LM-SHR-03")
def test_guest_that_cannot_converge_is_given_up(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A migration that does not converge is aborted at its deadline, and the guest runs on.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: several rounds, no throttle, an abort at the deadline; the guest is unharmed at the
    source.
    """
    guest = make_guest(NON_CONVERGING)

    with pytest.raises(MigrationTimedOut) as hopeless:
        try_in_vain(migrate, guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, deadline_s=HOPELESS_S))

    assert iterations(hopeless.value.outcome) >= 2, "it was over before it could fail to converge"
    assert hopeless.value.outcome.throttle_max_percent == 0
    assert guest.host is pair.source


@pytest.mark.requirement("LM-SHR-03")
@pytest.mark.parametrize(
    "throttle",
    [pytest.param(AutoConverge(60, 30), marks=pytest.mark.long), AutoConverge(40, 20)],
    ids=["60-then-30", "40-then-20"],
)
def test_auto_converge_lets_a_restless_guest_move(
    throttle: AutoConverge, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    Auto-converge brings over a guest that does not converge without it.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the migration completes; the throttle began at the initial value and rose by the
    increment, as QEMU says that they were set.
    """
    guest = make_guest(RESTLESS)
    told: dict[str, int] = {}

    def ask(sample: JobSample) -> bool:
        if not told and sample.stats.get("memory_processed"):
            told.update(guest.domain.monitor("query-migrate-parameters"))
        return False

    outcome = migrate(
        guest, Plan(bandwidth_mib_s=RESTLESS_BANDWIDTH_MIB_S, auto_converge=throttle), on_sample=ask
    )

    assert guest.host is pair.destination
    assert told["cpu-throttle-initial"] == throttle.initial_percent
    assert told["cpu-throttle-increment"] == throttle.increment_percent
    assert outcome.throttle_percents[0] == throttle.initial_percent
    assert outcome.throttle_percents == steps(throttle)[: len(outcome.throttle_percents)]


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.quiet
def test_timeout_suspends_the_guest(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, profile: Profile
) -> None:
    """
    When the time is up the guest is suspended, arrives, and runs again.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: suspended at the limit and not before, the migration completes while it rests, and
    it is resumed at the destination.
    """
    limit_s = 5.0
    guest = make_guest(NON_CONVERGING)

    outcome = migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, timeout=Timeout(limit_s)))

    late_ms = (suspended_at_s(outcome, pair.source.name) - limit_s) * 1000
    assert 0 <= late_ms <= profile.thresholds.suspend_delay_max_ms
    assert guest.host is pair.destination
    assert guest.state() == "running"


def steps(throttle: AutoConverge) -> tuple[int, ...]:
    """The throttle as it rises; QEMU never takes more than 99 per cent."""
    first, more = throttle.initial_percent or 0, throttle.increment_percent or 1
    return tuple(min(percent, 99) for percent in range(first, 99 + more, more))


def suspended_at_s(outcome: Outcome, host: str) -> float:
    """When the source said that the guest was suspended, s from the start of the migration."""
    return next(e.at_s for e in outcome.events if e.host == host and e.name == "suspended")
