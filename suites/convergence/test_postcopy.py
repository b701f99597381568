"""Post-copy, post-copy pre-emption, and the dirty limit for non-converging guests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from fixtures.plugins.encryption import CaptureGuestTraffic
from fixtures.plugins.guests import RecordFigures
from migqual.errors import GuestError, HostError, InconclusiveError, MigrationTimedOut
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.testbed.testbed import Testbed
from suites.support.convergence import BANDWIDTH_MIB_S, NON_CONVERGING, count_precopy_rounds
from suites.support.postcopy import find_postcopy_start_s, require_postcopy
from suites.support.unsupported import raise_unsupported_if

SWITCH_TIMEOUT_S = 3.0
POSTCOPY_PLAN = Plan(postcopy=True, bandwidth_mib_s=BANDWIDTH_MIB_S)
AFTER_PRECOPY_PLAN = replace(POSTCOPY_PLAN, postcopy_after_precopy=True)


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.beyond_requirement
def test_timeout_switches_to_postcopy(testbed: Testbed) -> None:
    """
    At the timeout the guest continues at the destination, and the rest of the memory follows.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: post-copy begins at the timeout and not before. The migration completes, and every
    page is intact.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    plan = replace(POSTCOPY_PLAN, timeout=Timeout(SWITCH_TIMEOUT_S, TimeoutAction.POSTCOPY))

    with require_postcopy():
        outcome = testbed.migrate(guest, plan)

    assert guest.host is testbed.destination
    assert find_postcopy_start_s(outcome, testbed.pair) >= SWITCH_TIMEOUT_S


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.beyond_requirement
def test_postcopy_after_one_round(testbed: Testbed) -> None:
    """
    Post-copy begins after the first round has sent all memory.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the first round completes, post-copy follows, and every page is intact.
    """
    guest = testbed.make_guest(NON_CONVERGING)

    with require_postcopy():
        outcome = testbed.migrate(guest, AFTER_PRECOPY_PLAN)

    assert guest.host is testbed.destination
    assert find_postcopy_start_s(outcome, testbed.pair) > 0
    assert count_precopy_rounds(outcome) >= 2


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.beyond_requirement
@pytest.mark.slow
def test_postcopy_needs_explicit_switch(testbed: Testbed) -> None:
    """
    A migration that allows post-copy, but does not request the switch to post-copy, stays in
    pre-copy.

    Preconditions: the guest dirties memory faster than the bandwidth limit; a short deadline.
    Expected: post-copy does not begin. The migration is aborted at the deadline, and the guest
    is unharmed at the source.
    """
    guest = testbed.make_guest(NON_CONVERGING)

    with pytest.raises(MigrationTimedOut) as timeout_error, require_postcopy():
        testbed.migrate(guest, replace(POSTCOPY_PLAN, deadline_s=SWITCH_TIMEOUT_S))

    assert not timeout_error.value.outcome.has_entered_postcopy
    assert guest.host is testbed.source


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.beyond_requirement
@pytest.mark.slow
def test_postcopy_preempt_channel(
    testbed: Testbed, capture_guest_traffic: CaptureGuestTraffic, record_figures: RecordFigures
) -> None:
    """
    With post-copy pre-emption, pages requested by the guest do not queue behind other pages.

    Preconditions: the migration switches to post-copy.
    Expected: a second connection exists if QEMU offers pre-emption and libvirt enables the
    capability. Otherwise a single connection carries the guest. The report says whether
    pre-emption was enabled.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    preempt_states: list[bool | None] = []

    def query_preempt_state(sample: JobSample) -> None:
        if not preempt_states and sample.stats.memory_processed_bytes:
            preempt_states.append(query_migration_capabilities(guest).get("postcopy-preempt"))

    with capture_guest_traffic(guest) as capture, require_postcopy():
        outcome = testbed.migrate(guest, AFTER_PRECOPY_PLAN, on_sample=query_preempt_state)

    if not preempt_states or not outcome.has_entered_postcopy:
        raise InconclusiveError(
            "the migration ended without post-copy, or before the test queried the capability "
            "postcopy-preempt of QEMU"
        )
    preempt_description = {
        None: "QEMU does not support it",
        False: "libvirt does not enable it",
        True: "enabled",
    }[preempt_states[0]]
    record_figures(
        "post-copy preemption",
        {"postcopy-preempt": preempt_description},
    )
    assert len(capture.connections) == (2 if preempt_states[0] else 1)


@pytest.mark.requirement("LM-SHR-03")
@pytest.mark.beyond_requirement
def test_dirty_limit(testbed: Testbed, record_figures: RecordFigures) -> None:
    """
    With the dirty limit of QEMU, a non-converging guest migrates to the destination.

    Preconditions: the guest dirties memory faster than the bandwidth limit. The dirty limit needs
    KVM and a dirty ring.
    Expected: if QEMU supports the dirty limit, the guest migrates, and QEMU throttles vCPUs during
    the migration. Otherwise QEMU refuses the dirty limit with a message, and the verdict is
    `unsupported`.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    throttle_times_us: list[int] = []

    def query_throttle_time(_sample: JobSample) -> None:
        with suppress(HostError, GuestError):  # the guest may already have left the source
            reply = guest.domain.run_qmp_command("query-migrate")
            throttle_times_us.append(int(reply.get("dirty-limit-throttle-time-per-round", 0)))

    with enable_dirty_limit(guest):
        testbed.migrate(guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S), on_sample=query_throttle_time)

    max_throttle_us = max(throttle_times_us, default=0)
    record_figures("dirty limit", {"throttle_us_per_round": max_throttle_us})
    assert guest.host is testbed.destination
    if not max_throttle_us:
        raise InconclusiveError("the migration ended before QEMU throttled the vCPUs")


@contextmanager
def enable_dirty_limit(guest: Guest) -> Iterator[None]:
    """Enable QEMU's dirty limit while the `with` block runs.

    If the guest stays at the source, the limit is disabled again afterwards.

    Raises:
        UnsupportedError: QEMU does not know the dirty limit, or cannot enable the dirty limit.
            The error contains QEMU's message.
    """
    with raise_unsupported_if(
        lambda error: isinstance(error, HostError) and "dirty-limit" in error.message
    ):
        set_migration_capability(guest, "dirty-limit", enabled=True)
    source = guest.host
    try:
        yield
    finally:
        if guest.host is source:
            # The test of the migration reports a lost guest; ignore errors here.
            with suppress(HostError, GuestError):
                set_migration_capability(guest, "dirty-limit", enabled=False)


def set_migration_capability(guest: Guest, capability: str, *, enabled: bool) -> None:
    capability_states: list[Mapping[str, Any]] = [{"capability": capability, "state": enabled}]
    guest.domain.run_qmp_command("migrate-set-capabilities", capabilities=capability_states)


def query_migration_capabilities(guest: Guest) -> dict[str, bool]:
    """Return the migration capabilities of the guest's QEMU, with the state of each."""
    reply = guest.domain.run_qmp_command("query-migrate-capabilities")
    return {row["capability"]: row["state"] for row in reply}
