"""Guests that go on at the destination before their memory is there, and other ways to converge."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from fixtures.plugins.encryption import ListenTo
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import (
    GuestError,
    HostError,
    InconclusiveError,
    MigrationTimedOut,
    UnsupportedError,
)
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from suites.convergence.postcopy import switched_at_s, where_offered
from suites.convergence.restless import BANDWIDTH_MIB_S, NON_CONVERGING, iterations

Migrate = Callable[..., Outcome]

SWITCH_S = 3.0
POSTCOPY = Plan(postcopy=True, bandwidth_mib_s=BANDWIDTH_MIB_S)
AFTER_PRECOPY = replace(POSTCOPY, postcopy_after_precopy=True)


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.extra
def test_timeout_switches_to_postcopy(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    When the time is up the guest goes on at the destination, and the rest of its memory follows.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: pre-copy until the limit and not beyond, then post-copy; the migration completes and
    every page is intact.
    """
    guest = make_guest(NON_CONVERGING)
    plan = replace(POSTCOPY, timeout=Timeout(SWITCH_S, TimeoutAction.POSTCOPY))

    with where_offered():
        outcome = migrate(guest, plan)

    assert guest.host is pair.destination
    assert switched_at_s(outcome, pair) >= SWITCH_S


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.extra
def test_postcopy_after_one_round(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    Post-copy begins once all memory has been sent a first time.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the first round completes, post-copy follows, and every page is intact.
    """
    guest = make_guest(NON_CONVERGING)

    with where_offered():
        outcome = migrate(guest, AFTER_PRECOPY)

    assert guest.host is pair.destination
    assert switched_at_s(outcome, pair) > 0
    assert iterations(outcome) >= 2


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.extra
@pytest.mark.long
def test_postcopy_that_is_only_allowed(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A migration that may use post-copy and is not told to stays with pre-copy.

    Preconditions: the guest dirties memory faster than the bandwidth limit; a short deadline.
    Expected: no post-copy, an abort at the deadline, the guest unharmed at the source.
    """
    guest = make_guest(NON_CONVERGING)

    with pytest.raises(MigrationTimedOut) as hopeless, where_offered():
        migrate(guest, replace(POSTCOPY, deadline_s=SWITCH_S))

    assert not hopeless.value.outcome.went_postcopy
    assert guest.host is pair.source


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.extra
@pytest.mark.long
def test_urgent_pages_have_a_channel_of_their_own(
    make_guest: MakeGuest,
    migrate: Migrate,
    listen_to: ListenTo,
    pair: Pair,
    pytestconfig: pytest.Config,
) -> None:
    """
    With pre-emption, pages that the guest waits for do not queue behind the others.

    Preconditions: a migration that goes over to post-copy.
    Expected: a second connection is made where QEMU offers pre-emption and libvirt turns it on, and
    none where not; which of it is recorded.
    """
    guest = make_guest(NON_CONVERGING)
    states: list[bool | None] = []

    def ask(sample: JobSample) -> bool:
        if not states and sample.stats.get("memory_processed"):
            states.append(capabilities(guest).get("postcopy-preempt"))
        return False

    with listen_to(guest) as capture, where_offered():
        outcome = migrate(guest, AFTER_PRECOPY, on_sample=ask)

    if not states or not outcome.went_postcopy:
        raise InconclusiveError("it was over before QEMU could be asked, or without post-copy")
    told = {None: "QEMU does not offer it", False: "libvirt leaves it off", True: "on"}[states[0]]
    add_environment(pytestconfig, f"post-copy pre-emption {pair.id}", {"postcopy-preempt": told})
    assert len(capture.channels) == (2 if states[0] else 1)


@pytest.mark.requirement("LM-SHR-03")
@pytest.mark.extra
def test_dirty_limit(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    A limit of the dirty rate, in place of a throttle of all vCPUs, brings a restless guest over.

    Preconditions: a guest that does not converge by itself; a QEMU that keeps to such a limit,
    which takes KVM with a dirty ring.
    Expected: it moves, and QEMU held its vCPUs back meanwhile. A QEMU that refuses says why.
    """
    guest = make_guest(NON_CONVERGING)
    held: list[int] = []

    def ask(_sample: JobSample) -> bool:
        with suppress(HostError, GuestError):  # at the very end it may have left already
            told = guest.domain.monitor("query-migrate")
            held.append(int(told.get("dirty-limit-throttle-time-per-round", 0)))
        return False

    with dirty_limit(guest):
        migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S), on_sample=ask)

    most = max(held, default=0)
    add_environment(pytestconfig, f"dirty limit {pair.id}", {"held_us_per_round": most})
    assert guest.host is pair.destination
    if not most:
        raise InconclusiveError("it moved before QEMU held it back")


@contextmanager
def dirty_limit(guest: Guest) -> Iterator[None]:
    """On while the block runs; a guest that stays has it off again. Raises `UnsupportedError` with
    QEMU's words when it does not know the limit, or cannot keep to one."""
    try:
        switch(guest, "dirty-limit", on=True)
    except HostError as refused:
        if "dirty-limit" not in refused.message:
            raise
        raise UnsupportedError(refused.message) from refused
    source = guest.host
    try:
        yield
    finally:
        if guest.host is source:
            # a guest that is lost is the migration's trouble
            with suppress(HostError, GuestError):
                switch(guest, "dirty-limit", on=False)


def switch(guest: Guest, capability: str, *, on: bool) -> None:
    wanted: list[Mapping[str, Any]] = [{"capability": capability, "state": on}]
    guest.domain.monitor("migrate-set-capabilities", capabilities=wanted)


def capabilities(guest: Guest) -> dict[str, bool]:
    """What QEMU can do in migrations, and whether it is on."""
    rows = guest.domain.monitor("query-migrate-capabilities")
    return {row["capability"]: row["state"] for row in rows}
