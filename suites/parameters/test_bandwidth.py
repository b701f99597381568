"""The bandwidth limit of a migration: set, read back, and obeyed."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import InconclusiveError, StackError
from migqual.hosts.domain import BandwidthPhase
from migqual.hosts.guest import Guest
from migqual.model import throughput
from migqual.model.documented_parameters import convert_to_mbit_s
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, PageContent
from migqual.model.metrics import compute_metrics
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.model.profile import Profile
from migqual.testbed.testbed import Testbed
from migqual.units import MIB
from suites.support.bandwidth_change import BandwidthChange
from suites.support.compression import CountedMigration, migrate_and_count_bytes
from suites.support.parameter_probe import ParameterProbe
from suites.support.postcopy import require_postcopy

# Enough data for several seconds at every limit; QEMU cannot leave out random data.
FULL_GUEST = GuestSpec(
    load=GuestLoad("full", memory=MemoryLoad(size_mib=96, content=PageContent.RANDOM))
)
# More data than in FULL_GUEST: libvirt may take seconds to change a limit.
LARGE_GUEST = GuestSpec(
    memory_mib=384,
    load=GuestLoad("roomy", memory=MemoryLoad(size_mib=200, content=PageContent.RANDOM)),
)
# The limit is checked only after this time. QEMU exceeds the limit while a migration starts or
# switches to post-copy. The last round, with the guest stopped, has no limit at all. QEMU
# counts sent data in units of 128 KiB and applies the limit to each tenth of a second. Below 16
# MiB/s a single extra unit in each tenth is more than a tenth of the limit.
SETTLE_S = 1.0
# The excess at start and end is less than the data sent in this time at the limit. QEMU leaves
# as much data for the end as fits into the downtime limit of 300 ms.
BURST_ALLOWANCE_S = 0.5
UNLIMITED_MIB_S = 10_000  # so high that the limit has no effect


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
def test_bandwidth_limit_is_read_back(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    `migrate-getspeed` reports the limit set by `migrate-setspeed`, and the limit is in force in
    QEMU.

    Preconditions: a guest without a running migration.
    Expected: every value is read back from libvirt in MiB/s and from QEMU in bytes per second.
    A value beyond libvirt's range is refused, and the old value stays in force.
    """
    guest = testbed.make_guest(GuestSpec())

    for mib_s in (1, 32, 500, 10_000):
        guest.domain.set_bandwidth(mib_s)
        assert guest.domain.query_bandwidth_mib_s() == mib_s
        assert (
            read_max_bandwidth(guest.domain.run_qmp_command("query-migrate-parameters"))
            == mib_s * MIB
        )

    with pytest.raises(StackError) as refusal:
        guest.domain.set_bandwidth(2**62)
    record_stack_message("bandwidth-out-of-range", refusal.value.message)
    assert guest.domain.query_bandwidth_mib_s() == 10_000


@pytest.mark.requirement("LM-PAR-02")
def test_unit_of_the_bandwidth(testbed: Testbed) -> None:
    """
    The unit of `migrate-setspeed` is MiB/s. openEuler's documentation wrongly states Mbit/s.

    Preconditions: the example of this documentation, `migrate-setspeed --bandwidth 500`.
    Expected: QEMU's limit is 500 MiB/s, equal to 4194 Mbit/s. A limit of 500 Mbit/s would be only
    60 MiB/s.
    """
    guest = testbed.make_guest(GuestSpec())

    guest.domain.set_bandwidth(500)

    limit_bytes_s = read_max_bandwidth(guest.domain.run_qmp_command("query-migrate-parameters"))
    assert limit_bytes_s * 8 / 1_000_000 == pytest.approx(convert_to_mbit_s(500))
    assert round(convert_to_mbit_s(500)) == 4194
    assert limit_bytes_s > 8 * 500_000_000 / 8


@pytest.mark.requirement("LM-PAR-02")
@pytest.mark.parametrize(
    "limit_mib_s", [16, pytest.param(32, marks=pytest.mark.slow)], ids="{}mib-s".format
)
def test_throughput_stays_under_the_limit(
    limit_mib_s: int, testbed: Testbed, profile: Profile, record_figures: RecordFigures
) -> None:
    """
    A migration stays within the bandwidth limit, and uses most of the limit.

    Preconditions: at the limit, the migration of the guest takes several seconds.
    Expected: the test measures the rate in time windows of 2 s, without the start and the end of
    the migration. In each window, the rate is at most the limit plus the tolerance of the
    profile. The same is true for the mean rate of the whole migration on the link. The kernel and
    the migration job count about the same number of bytes. At least half of the windows reach
    85 % of the limit. If the link is too slow for the limit, the test is inconclusive. The report
    also shows the highest rate with start and end. The test does not check this highest rate.
    """
    guest = testbed.make_guest(FULL_GUEST)

    migration = migrate_and_count_bytes(testbed, guest, Plan(bandwidth_mib_s=limit_mib_s))

    samples = migration.outcome.job_samples
    rates_mib_s = compute_rates_mib_s(
        migration.outcome, since_s=find_first_data_s(samples) + SETTLE_S
    )
    figures = {
        "limit_mib_s": limit_mib_s,
        "typical_mib_s": round(throughput.compute_median_rate(rates_mib_s), 2),
        "peak_mib_s": round(max(rates_mib_s), 2),
        "peak_with_start_and_end_mib_s": round(max(throughput.compute_window_rates(samples)), 2),
        "on_link_mib_s": round(compute_link_rate_mib_s(migration), 2),
        "windows": len(rates_mib_s),
    }
    record_figures(f"bandwidth {limit_mib_s}", figures)
    tolerance = profile.thresholds.bandwidth_tolerance_percent
    assert not throughput.select_rates_over_limit(
        limit_mib_s, tolerance, [*rates_mib_s, compute_link_rate_mib_s(migration)]
    )
    check_limit_is_used(limit_mib_s, rates_mib_s, guest, testbed)


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
def test_bandwidth_limit_is_in_force_during_migration(testbed: Testbed) -> None:
    """
    The bandwidth limit is in force in QEMU during a migration, and so is a new limit after a
    change.

    Preconditions: a migration at 16 MiB/s; after the first reply of QEMU the limit is raised to
    32 MiB/s.
    Expected: QEMU reports the first limit before the change and the new limit after the change,
    in bytes per second. libvirt reports the new limit in MiB/s. Then the limit is removed, and
    the migration completes.
    """
    guest = testbed.make_guest(LARGE_GUEST)
    first_probe, second_probe = (ParameterProbe(guest, "max-bandwidth") for _ in range(2))
    change = BandwidthChange(guest.domain, 32, delay_s=SETTLE_S)

    final_change = BandwidthChange(guest.domain, UNLIMITED_MIB_S, delay_s=0)

    def probe_and_change(sample: JobSample) -> None:
        if first_probe.values:
            change.on_sample(sample)
        if change.applied_s is not None:
            second_probe.on_sample(sample)
        if second_probe.values and change.reported_mib_s is not None:
            final_change.on_sample(sample)
        first_probe.on_sample(sample)

    testbed.migrate(guest, Plan(bandwidth_mib_s=16), on_sample=probe_and_change)

    change.wait_for_times_s()
    assert (first_probe.value, change.reported_mib_s, second_probe.value) == (
        16 * MIB,
        32,
        32 * MIB,
    )


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("old_mib_s", "new_mib_s"),
    [(16, 32), (24, 16)],
    ids=["raised", "lowered"],
)
def test_bandwidth_limit_changes_during_migration(
    old_mib_s: int, new_mib_s: int, testbed: Testbed, profile: Profile
) -> None:
    """
    If the bandwidth limit is raised or lowered during a migration, the new limit is in force.

    Preconditions: a migration that runs for several seconds at the old limit before the change.
    Expected: before the change the rate does not exceed the old limit, and is usually at least
    85 % of the old limit. After the change the same is true for the new limit. libvirt reports
    the new limit.
    """
    guest = testbed.make_guest(LARGE_GUEST)
    change = BandwidthChange(guest.domain, new_mib_s, delay_s=SETTLE_S + 2.5)

    outcome = testbed.migrate(guest, Plan(bandwidth_mib_s=old_mib_s), on_sample=change.on_sample)

    first_data_s, requested_s, applied_s = change.wait_for_times_s()
    rates_before = compute_rates_mib_s(
        outcome, since_s=first_data_s + SETTLE_S, until_s=requested_s
    )
    rates_after = compute_rates_mib_s(outcome, since_s=applied_s + SETTLE_S)
    assert change.reported_mib_s == new_mib_s
    for limit_mib_s, rates_mib_s in ((old_mib_s, rates_before), (new_mib_s, rates_after)):
        tolerance = profile.thresholds.bandwidth_tolerance_percent
        assert not throughput.select_rates_over_limit(limit_mib_s, tolerance, rates_mib_s)
        check_limit_is_used(limit_mib_s, rates_mib_s, guest, testbed)


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
@pytest.mark.beyond_requirement
def test_postcopy_bandwidth(testbed: Testbed, profile: Profile) -> None:
    """
    Post-copy has a separate bandwidth limit.

    Preconditions: the migration switches to post-copy one second after the start.
    Expected: QEMU and libvirt report the limit for post-copy. In post-copy the rate stays within
    the post-copy limit and exceeds the pre-copy limit. If a host does not support post-copy, the
    verdict is `unsupported`.
    """
    precopy_mib_s, postcopy_mib_s = 16, 24
    guest = testbed.make_guest(FULL_GUEST)
    guest.domain.set_bandwidth(postcopy_mib_s, BandwidthPhase.POSTCOPY)
    assert guest.domain.query_bandwidth_mib_s(BandwidthPhase.POSTCOPY) == postcopy_mib_s
    limit_in_force = guest.domain.run_qmp_command("query-migrate-parameters")[
        "max-postcopy-bandwidth"
    ]
    assert limit_in_force == postcopy_mib_s * MIB
    plan = Plan(
        bandwidth_mib_s=precopy_mib_s,
        postcopy=True,
        postcopy_bandwidth_mib_s=postcopy_mib_s,
        timeout=Timeout(1, TimeoutAction.POSTCOPY),
    )

    with require_postcopy():
        outcome = testbed.migrate(guest, plan)

    switch_times_s = [event.at_s for event in outcome.events if '"postcopy-active"' in event.detail]
    if not switch_times_s:
        raise InconclusiveError("the migration ended before post-copy began")
    # QEMU sends the data left at the very end in a single burst.
    end_s = outcome.job_samples[-1].at_s - SETTLE_S / 2
    rates_mib_s = compute_rates_mib_s(
        outcome, since_s=min(switch_times_s) + SETTLE_S, until_s=end_s
    )
    tolerance = profile.thresholds.bandwidth_tolerance_percent
    assert not throughput.select_rates_over_limit(postcopy_mib_s, tolerance, rates_mib_s)
    assert throughput.select_rates_over_limit(precopy_mib_s, tolerance, rates_mib_s)


def read_max_bandwidth(parameters: dict[str, object]) -> int:
    """Read the bandwidth limit from the parameters, in bytes per second."""
    return int(str(parameters["max-bandwidth"]))


def check_limit_is_used(
    limit_mib_s: int, rates_mib_s: tuple[float, ...], guest: Guest, testbed: Testbed
) -> None:
    """Check that the migration used most of the bandwidth limit.

    The median of the measured rates must be at least 85 % of the limit. If the median is lower,
    the function migrates the guest again, without a limit. If this migration reaches the limit,
    the link is fast enough, and the test fails.

    Raises:
        InconclusiveError: The migration without a limit is slower than the limit, so the link is
            too slow.
    """
    if not throughput.is_limit_unused(limit_mib_s, rates_mib_s):
        return
    message = f"{throughput.compute_median_rate(rates_mib_s):.1f} of {limit_mib_s} MiB/s"
    unlimited_mib_s = compute_metrics(testbed.migrate(guest, Plan()))["throughput_avg_mib_s"] or 0
    if unlimited_mib_s < limit_mib_s:
        raise InconclusiveError(
            f"the migration used {message}. A migration without a limit used only "
            f"{unlimited_mib_s:.1f} MiB/s, so the link is too slow for this test"
        )
    pytest.fail(f"the migration used {message}, but the link carries {unlimited_mib_s:.1f} MiB/s")


def compute_link_rate_mib_s(migration: CountedMigration) -> float:
    """Return the mean rate of the migration on the link in MiB/s, by the kernel's byte count.

    The function divides the bytes by the time from the first data to the end of the migration.
    `BURST_ALLOWANCE_S` is added to this time, because QEMU can exceed the bandwidth limit at the
    start and at the end.
    """
    outcome = migration.outcome
    return (
        migration.link_bytes
        / MIB
        / (outcome.seconds - find_first_data_s(outcome.job_samples) + BURST_ALLOWANCE_S)
    )


def find_first_data_s(samples: tuple[JobSample, ...]) -> float:
    """Return the time of the first job sample that reports sent guest memory.

    The time is in s after the start of the migration. At least one sample must report sent memory.
    """
    return next(sample.at_s for sample in samples if sample.stats.memory_processed_bytes)


def compute_rates_mib_s(
    outcome: Outcome, *, since_s: float, until_s: float | None = None
) -> tuple[float, ...]:
    """Return the throughput of guest memory in MiB/s, for each time window (2 s or longer).

    A window starts and ends at a job sample. The windows overlap.

    Args:
        since_s: Start of the first window, in s after the start of the migration.
        until_s: End of the last window, in s after the start of the migration. None means the
            time when the guest stops at the source.

    Raises:
        InconclusiveError: No window fits between `since_s` and `until_s`, for example because
            libvirt replied too slowly. The same error is raised if `until_s` is None and the
            source reported no STOP event.
    """
    if until_s is None:
        stop_events = (event for event in outcome.events if event.name == "STOP")
        until_s = next((event.at_s for event in stop_events if event.host == outcome.source), None)
    if until_s is None:
        raise InconclusiveError("the source reported no STOP event of the guest")
    rates_mib_s = throughput.compute_window_rates(
        outcome.job_samples, since_s=since_s, until_s=until_s
    )
    if not rates_mib_s:
        slowest_reply_s = max((sample.query_s for sample in outcome.job_samples), default=0.0)
        raise InconclusiveError(
            "the throughput is not known: the usable job samples cover less than "
            f"{throughput.WINDOW_SECONDS:g} s. The test uses the samples from {since_s:.1f} s to "
            f"{until_s:.1f} s after the start of the migration, and ignores samples with a slow "
            f"reply of libvirt. The slowest reply took {slowest_reply_s:.2f} s"
        )
    return rates_mib_s
