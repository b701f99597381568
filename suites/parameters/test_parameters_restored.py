"""A failed migration leaves the parameters of the guest at the source unchanged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from migqual.errors import InconclusiveError, MigrationError
from migqual.hosts.guest import Guest
from migqual.migration.job_sampler import SampleAction
from migqual.model.outcome import JobSample
from migqual.model.plan import AutoConverge, Plan
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.convergence import BANDWIDTH_MIB_S, NON_CONVERGING, expect_no_convergence
from suites.support.qemu_signals import kill_qemu

EndMigration = Callable[[Guest, HostPair], SampleAction | None]

# The throttle begins after about four rounds, before the deadline, and does not end the
# migration: the throttled guest still dirties memory faster than the link carries memory.
THROTTLED_PLAN = Plan(
    bandwidth_mib_s=BANDWIDTH_MIB_S,
    downtime_ms=50,
    auto_converge=AutoConverge(10, 5),
    deadline_s=12,
)
# QEMU's names of the settings in THROTTLED_PLAN
PLAN_PARAMETERS = {
    "max-bandwidth",
    "downtime-limit",
    "auto-converge",
    "cpu-throttle-initial",
    "cpu-throttle-increment",
}
MULTIFD_PARAMETERS = {"multifd", "multifd-channels"}


def keep_running(_guest: Guest, _pair: HostPair) -> None:
    """Let the migration continue until the deadline of the plan."""


def abort_migration(_guest: Guest, _pair: HostPair) -> SampleAction:
    return SampleAction.ABORT


def kill_destination(guest: Guest, pair: HostPair) -> None:
    kill_qemu(pair.destination, guest)


@pytest.mark.requirement("LM-PAR-09")
@pytest.mark.parametrize(
    "channels",
    [
        pytest.param(0, id="one-stream"),
        pytest.param(3, id="parallel", marks=[pytest.mark.beyond_requirement, pytest.mark.slow]),
    ],
)
@pytest.mark.parametrize(
    ("end_migration", "status"),
    [
        (keep_running, "timed-out"),
        pytest.param(abort_migration, "aborted", marks=pytest.mark.slow),
        pytest.param(kill_destination, "failed", marks=pytest.mark.slow),
    ],
    ids=["timed-out", "aborted", "failed"],
)
def test_failed_migration_restores_parameters(
    end_migration: EndMigration, status: str, channels: int, testbed: Testbed
) -> None:
    """
    A failed or aborted migration leaves no changed parameter or capability at the source.

    Preconditions: the plan sets bandwidth, downtime and throttle, in one variant also parallel
    connections. While the guest is throttled, one of three events ends the migration: the
    deadline of the plan, an abort, or the kill of the destination's QEMU.
    Expected: the values of the plan are in force during the migration. Afterwards the source's
    QEMU lists the same values as before, and the guest moves with the default plan.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    settings_before = query_migration_settings(guest)
    settings_during: list[dict[str, Any]] = []

    def end_when_throttled(sample: JobSample) -> SampleAction | None:
        if settings_during or not sample.stats.throttle_percent:
            return None
        settings_during.append(query_migration_settings(guest))
        return end_migration(guest, testbed.pair)

    with pytest.raises(MigrationError) as failure:
        expect_no_convergence(
            testbed, guest, replace(THROTTLED_PLAN, channels=channels), on_sample=end_when_throttled
        )

    if not settings_during or failure.value.outcome.status != status:
        raise InconclusiveError(f"the migration did not end as planned: {failure.value.message}")
    assert find_changed_settings(settings_before, settings_during[0]).keys() >= PLAN_PARAMETERS | (
        MULTIFD_PARAMETERS if channels else set()
    )
    assert find_changed_settings(settings_before, query_migration_settings(guest)) == {}
    testbed.migrate(guest, Plan())


def query_migration_settings(guest: Guest) -> dict[str, Any]:
    """Return every migration parameter and capability of the guest's QEMU."""
    monitor = guest.domain.run_qmp_command
    capabilities = {
        row["capability"]: row["state"] for row in monitor("query-migrate-capabilities")
    }
    return {**monitor("query-migrate-parameters"), **capabilities}


def find_changed_settings(
    settings_before: dict[str, Any], settings_after: dict[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return the changed settings, each with the old and the new value."""
    names = settings_before.keys() | settings_after.keys()
    old_and_new = {name: (settings_before.get(name), settings_after.get(name)) for name in names}
    return {name: (old, new) for name, (old, new) in old_and_new.items() if old != new}
