"""Guests that dirty memory fast: throttle, suspension at the timeout, abort at the deadline."""

import pytest

from migqual.errors import MigrationTimedOut
from migqual.hosts.domain import DomainState
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import AutoConverge, Plan, Timeout
from migqual.model.profile import Profile
from migqual.testbed.testbed import Testbed
from suites.support.convergence import (
    BANDWIDTH_MIB_S,
    CONVERGING_WHEN_THROTTLED,
    NON_CONVERGENCE_DEADLINE_S,
    NON_CONVERGING,
    THROTTLING_BANDWIDTH_MIB_S,
    count_precopy_rounds,
    expect_no_convergence,
)


@pytest.mark.requirement("LM-SHR-03")
def test_non_converging_migration_is_aborted_at_deadline(testbed: Testbed) -> None:
    """
    A non-converging migration is aborted at the deadline, and the guest runs on.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the migration has at least two rounds and no throttle, and is aborted at the
    deadline. The guest is unharmed at the source.
    """
    guest = testbed.make_guest(NON_CONVERGING)

    with pytest.raises(MigrationTimedOut) as timeout_error:
        expect_no_convergence(
            testbed,
            guest,
            Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, deadline_s=NON_CONVERGENCE_DEADLINE_S),
        )

    assert count_precopy_rounds(timeout_error.value.outcome) >= 2, (
        "the migration ended before its second round"
    )
    assert timeout_error.value.outcome.throttle_max_percent == 0
    assert guest.host is testbed.source


@pytest.mark.requirement("LM-SHR-03")
@pytest.mark.parametrize(
    "throttle",
    [pytest.param(AutoConverge(60, 30), marks=pytest.mark.slow), AutoConverge(40, 20)],
    ids=["60-then-30", "40-then-20"],
)
def test_auto_converge_completes_migration(throttle: AutoConverge, testbed: Testbed) -> None:
    """
    Auto-converge completes the migration of an otherwise non-converging guest.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the migration completes. The throttle begins at the initial value and rises by the
    increment. During the migration, QEMU reports the requested initial value and increment.
    """
    guest = testbed.make_guest(CONVERGING_WHEN_THROTTLED)
    parameters_in_force: dict[str, int] = {}

    def query_parameters(sample: JobSample) -> None:
        if not parameters_in_force and sample.stats.memory_processed_bytes:
            parameters_in_force.update(guest.domain.run_qmp_command("query-migrate-parameters"))

    outcome = testbed.migrate(
        guest,
        Plan(bandwidth_mib_s=THROTTLING_BANDWIDTH_MIB_S, auto_converge=throttle),
        on_sample=query_parameters,
    )

    assert guest.host is testbed.destination
    assert parameters_in_force["cpu-throttle-initial"] == throttle.initial_percent
    assert parameters_in_force["cpu-throttle-increment"] == throttle.increment_percent
    assert outcome.throttle_percents[0] == throttle.initial_percent
    assert (
        outcome.throttle_percents
        == list_throttle_percents(throttle)[: len(outcome.throttle_percents)]
    )


@pytest.mark.requirement("LM-SHR-04")
@pytest.mark.timing_sensitive
def test_timeout_suspends_the_guest(testbed: Testbed, profile: Profile) -> None:
    """
    At the timeout the guest is suspended, arrives, and runs again.

    Preconditions: the guest dirties memory faster than the bandwidth limit.
    Expected: the guest is suspended at the timeout and not before. The migration completes
    while the guest is suspended, and the guest is resumed at the destination.
    """
    limit_s = 5.0
    guest = testbed.make_guest(NON_CONVERGING)

    outcome = testbed.migrate(
        guest, Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, timeout=Timeout(limit_s))
    )

    suspend_delay_ms = (find_suspend_time_s(outcome, testbed.source.name) - limit_s) * 1000
    assert 0 <= suspend_delay_ms <= profile.thresholds.suspend_delay_max_ms
    assert guest.host is testbed.destination
    assert guest.query_state() is DomainState.RUNNING


def list_throttle_percents(throttle: AutoConverge) -> tuple[int, ...]:
    """Return the throttle percentages in rising order; QEMU never exceeds 99 percent."""
    initial_percent, increment_percent = (
        throttle.initial_percent or 0,
        throttle.increment_percent or 1,
    )
    return tuple(
        min(percent, 99)
        for percent in range(initial_percent, 99 + increment_percent, increment_percent)
    )


def find_suspend_time_s(outcome: Outcome, host_name: str) -> float:
    """Return when the host suspended the guest, in s after the start of the migration."""
    return next(
        event.at_s
        for event in outcome.events
        if event.host == host_name and event.name == "suspended"
    )
