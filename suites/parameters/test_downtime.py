"""The downtime limit of a migration: set, read back, and obeyed."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import InconclusiveError, MigrationTimedOut, StackError
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad
from migqual.model.metrics import compute_metrics
from migqual.model.plan import Plan
from migqual.model.profile import Profile
from migqual.testbed.testbed import Testbed
from suites.support.convergence import BANDWIDTH_MIB_S, NON_CONVERGING, count_precopy_rounds
from suites.support.parameter_probe import ParameterProbe

BUSY_GUEST = GuestSpec(load=GuestLoad("busy", memory=MemoryLoad(size_mib=32, rate_mib_s=10)))
# The guest keeps 32 MiB dirty. At the bandwidth limit, QEMU needs 0.7 s to send 32 MiB: a third of
# the long downtime limit, but seven times the short limit.
LONG_DOWNTIME_MS, SHORT_DOWNTIME_MS = 2000, 100


@pytest.mark.requirement("LM-PAR-01")
def test_downtime_limit_is_read_back(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    libvirt reports the downtime limit set by `migrate-setmaxdowntime`, and the limit is in force
    in QEMU.

    Preconditions: a guest without a running migration.
    Expected: libvirt and QEMU report each downtime limit that is set: 1 ms, 500 ms and 2000 s. A
    limit above QEMU's maximum of 2000 s is refused with a message, and the old limit stays in
    force.
    """
    guest = testbed.make_guest(GuestSpec())

    for limit_ms in (1, 500, 2_000_000):
        guest.domain.set_max_downtime(limit_ms)
        assert guest.domain.query_max_downtime_ms() == limit_ms
        limit_in_force_ms = guest.domain.run_qmp_command("query-migrate-parameters")[
            "downtime-limit"
        ]
        assert limit_in_force_ms == limit_ms

    with pytest.raises(StackError) as refusal:
        guest.domain.set_max_downtime(2_000_001)
    record_stack_message("downtime-out-of-range", refusal.value.message)
    assert guest.domain.run_qmp_command("query-migrate-parameters")["downtime-limit"] == 2_000_000


@pytest.mark.requirement("LM-PAR-01")
@pytest.mark.parametrize(
    "limit_ms", [100, pytest.param(500, marks=pytest.mark.slow)], ids="{}ms".format
)
def test_downtime_stays_within_limit(
    limit_ms: int, testbed: Testbed, profile: Profile, record_figures: RecordFigures
) -> None:
    """
    The downtime of a guest with changing memory is at most the downtime limit times a factor.

    Preconditions: the guest dirties memory all the time. The profile contains the factor
    (`downtime_overshoot_max_ratio`). For example, with the factor 2 and a limit of 100 ms, the
    downtime may be 200 ms.
    Expected: the downtime divided by the limit is at most the factor. The report has the downtime
    and this ratio, even if the test fails.
    """
    outcome = testbed.migrate(testbed.make_guest(BUSY_GUEST), Plan(downtime_ms=limit_ms))

    figures = compute_metrics(outcome)
    downtime_ms = figures["downtime_qemu_ms"] or figures["downtime_libvirt_ms"]
    if downtime_ms is None:
        raise InconclusiveError("neither QEMU nor libvirt reported the downtime")
    ratio = downtime_ms / limit_ms
    record_figures(
        f"downtime {limit_ms}",
        {"downtime_ms": downtime_ms, "ratio": ratio},
    )
    assert ratio <= profile.thresholds.downtime_overshoot_max_ratio


@pytest.mark.requirement("LM-PAR-01")
def test_downtime_limit_decides_when_a_migration_ends(testbed: Testbed) -> None:
    """
    A non-converging guest moves only if QEMU can send the remaining memory within the downtime
    limit.

    Preconditions: the guest dirties memory faster than QEMU sends memory. At the given bandwidth,
    QEMU needs 0.7 s to send the dirty memory.
    Expected: the first migration has a downtime limit of 2 s, and completes. The second migration
    has a downtime limit of 0.1 s, and does not complete. The second migration is aborted after
    twice the duration of the first migration, and after at least two rounds. The guest continues to
    run. Each downtime limit is in force in QEMU during its migration.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    plan = Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, downtime_ms=LONG_DOWNTIME_MS)
    long_probe, short_probe = (ParameterProbe(guest, "downtime-limit") for _ in range(2))

    outcome = testbed.migrate(guest, plan, on_sample=long_probe.on_sample)
    assert guest.host is testbed.destination
    short_downtime_plan = replace(
        plan, downtime_ms=SHORT_DOWNTIME_MS, deadline_s=2 * outcome.seconds
    )
    with pytest.raises(MigrationTimedOut) as timeout_error:
        testbed.migrate(guest, short_downtime_plan, on_sample=short_probe.on_sample)

    assert guest.host is testbed.destination
    assert (long_probe.value, short_probe.value) == (LONG_DOWNTIME_MS, SHORT_DOWNTIME_MS)
    assert count_precopy_rounds(timeout_error.value.outcome) >= 2, (
        "the migration was aborted before its second round"
    )
