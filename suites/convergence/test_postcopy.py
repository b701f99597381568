"""Guests that go on at the destination before their memory is there, and other ways to converge."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fixtures.plugins.encryption import ListenTo
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import HostError, InconclusiveError, MigrationError
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from suites.convergence.restless import BANDWIDTH_MIB_S, RESTLESS, iterations

Migrate = Callable[..., Outcome]

SWITCH_S = 3.0
POSTCOPY = Plan(postcopy=True, bandwidth_mib_s=BANDWIDTH_MIB_S)
AFTER_PRECOPY = replace(POSTCOPY, postcopy_after_precopy=True)


@pytest.mark.requirement("LM-SHR-04")
def test_timeout_switches_to_postcopy(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    When the time is up the guest goes on at the destination, and the rest of its memory follows.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: pre-copy until the limit and not beyond, then post-copy; the migration completes and
    every page is intact.
    """
    guest = make_guest(RESTLESS)

    outcome = migrate(guest, replace(POSTCOPY, timeout=Timeout(SWITCH_S, TimeoutAction.POSTCOPY)))

    assert guest.host is pair.destination
    assert switched_at_s(outcome, pair) >= SWITCH_S


@pytest.mark.requirement("LM-SHR-04")
def test_postcopy_after_one_round(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    Post-copy begins once all memory has been sent a first time.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the first round completes, post-copy follows, and every page is intact.
    """
    guest = make_guest(RESTLESS)

    outcome = migrate(guest, AFTER_PRECOPY)

    assert guest.host is pair.destination
    assert switched_at_s(outcome, pair) > 0
    assert iterations(outcome) >= 2


@pytest.mark.requirement("LM-SHR-04")
def test_postcopy_that_is_only_allowed(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A migration that may use post-copy and is not told to stays with pre-copy.

    Preconditions: a guest at rest would converge; this one is restless, and its deadline short.
    Expected: no post-copy, an abort at the deadline, the guest unharmed at the source.
    """
    guest = make_guest(RESTLESS)

    with pytest.raises(MigrationError) as hopeless:
        migrate(guest, replace(POSTCOPY, deadline_s=SWITCH_S))

    assert not hopeless.value.outcome.went_postcopy
    assert guest.host is pair.source


@pytest.mark.requirement("LM-SHR-04")
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
    guest = make_guest(RESTLESS)
    states: list[bool | None] = []

    def ask(sample: JobSample) -> bool:
        if not states and sample.stats.get("memory_processed"):
            states.append(capabilities(guest).get("postcopy-preempt"))
        return False

    with listen_to(guest) as capture:
        outcome = migrate(guest, AFTER_PRECOPY, on_sample=ask)

    if not states or not outcome.went_postcopy:
        raise InconclusiveError("it was over before QEMU could be asked, or without post-copy")
    told = {None: "QEMU does not offer it", False: "libvirt leaves it off", True: "on"}[states[0]]
    add_environment(pytestconfig, f"post-copy pre-emption {pair.id}", {"postcopy-preempt": told})
    assert len(capture.channels) == (2 if states[0] else 1)


@pytest.mark.requirement("LM-SHR-03")
def test_dirty_limit_is_recorded(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    Whether a limit of the dirty rate, in place of a throttle of all vCPUs, serves is recorded.

    Preconditions: a guest that does not converge by itself.
    Expected: it moves; or QEMU does not offer the limit, or says why it cannot keep to one, and the
    guest is unharmed where it was.
    """
    guest = make_guest(RESTLESS)
    did = "moved"
    wanted: list[Mapping[str, Any]] = [{"capability": "dirty-limit", "state": True}]
    try:
        guest.domain.monitor("migrate-set-capabilities", capabilities=wanted)
        migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S))
    except (HostError, MigrationError) as error:
        did = error.message

    versions = {host.name: host.libvirt.versions()["qemu"] for host in pair.hosts}
    add_environment(pytestconfig, f"dirty limit {pair.id}", {"did": did, **versions})
    assert did == "moved" or re.search(r"dirty-limit|dirty.ring", did), did
    assert guest.host is (pair.destination if did == "moved" else pair.source)
    assert guest.state() == "running"


def switched_at_s(outcome: Outcome, pair: Pair) -> float:
    """When the source went over to post-copy, s from the start of the migration."""
    assert outcome.went_postcopy, "it ended without post-copy"
    return next(
        event.at_s
        for event in outcome.events
        if event.host == pair.source.name and "postcopy-active" in event.detail
    )


def capabilities(guest: Guest) -> dict[str, bool]:
    """What QEMU can do in migrations, and whether it is on."""
    rows = guest.domain.monitor("query-migrate-capabilities")
    return {row["capability"]: row["state"] for row in rows}
