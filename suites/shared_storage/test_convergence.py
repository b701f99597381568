"""Guests that dirty memory faster than it can be sent."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationTimedOut
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.outcome import Outcome
from migqual.model.plan import AutoConverge, Plan, Timeout
from migqual.model.profile import Profile

Migrate = Callable[..., Outcome]

# Dirtied as fast as the CPU allows, faster than the link may carry: it cannot converge by itself,
# and less CPU means less dirtying. The working set is three times what fits into QEMU's default
# downtime at this bandwidth: bursts above the limit must not let it slip through.
RESTLESS = GuestSpec(
    load=Load(
        "restless",
        memory=MemoryLoad(mib=32, rate_mib_s=None, pattern=Pattern.SEQUENTIAL),
    )
)
BANDWIDTH_MIB_S = 32
LIMIT_S = 6.0


@pytest.mark.requirement("LM-SHR-03")
def test_auto_converge_lets_a_restless_guest_move(make_guest: MakeGuest, migrate: Migrate) -> None:
    """
    Auto-converge brings over a guest that does not converge without it.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: without it the migration is not over in time, is aborted, and the guest runs on; with
    it the migration completes, and the throttle was seen at work.
    """
    guest = make_guest(RESTLESS)

    with pytest.raises(MigrationTimedOut) as hopeless:
        migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, deadline_s=LIMIT_S))
    outcome = migrate(
        guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, auto_converge=AutoConverge(60, 30))
    )

    assert iterations(hopeless.value.outcome) >= 2, "it was over before it could fail to converge"
    assert hopeless.value.outcome.throttle_max_percent == 0
    assert outcome.throttle_max_percent >= 60


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
    guest = make_guest(RESTLESS)

    outcome = migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, timeout=Timeout(limit_s)))

    late_ms = (suspended_at_s(outcome, pair.source.name) - limit_s) * 1000
    assert 0 <= late_ms <= profile.thresholds.suspend_delay_max_ms
    assert guest.host is pair.destination
    assert guest.state() == "running"


def iterations(outcome: Outcome) -> int:
    return max((int(s.stats.get("memory_iteration", 0)) for s in outcome.samples), default=0)


def suspended_at_s(outcome: Outcome, host: str) -> float:
    """When the source said that the guest was suspended, s from the start of the migration."""
    return next(e.at_s for e in outcome.events if e.host == host and e.name == "suspended")
