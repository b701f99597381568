"""Tests of auto-converge step by step, with cases calculated by hand."""

import pytest

from migqual.predict.dirty_curve import DirtyModel, build_cyclic_curve
from migqual.predict.precopy import (
    STEPS_PERCENT,
    MigrationLimits,
    Throttle,
    TransferModel,
    simulate_precopy,
)

pytestmark = pytest.mark.selftest

TRANSFER_MODEL = TransferModel(bandwidth_mib_s=100.0, paused_bandwidth_mib_s=100.0, setup_s=1.0)
LIMITS = MigrationLimits(downtime_limit_s=0.3, deadline_s=600.0)


def test_throttle_step_needs_two_dirty_syncs() -> None:
    """
    Each step of the throttle needs two dirty syncs.

    Preconditions: every two seconds, QEMU reads the dirty log (a dirty sync). The guest dirties as
    much memory as QEMU sends.
    Expected: the throttle is 20 % after the second sync. After every two further syncs, the
    throttle increases to the next step, until 99 %, and then stays at 99 %.
    """
    throttle = Throttle()
    percentages = []

    for sync_number in range(1, 21):
        throttle.record_dirty_sync(100.0, 100.0 * sync_number, 2.0 * sync_number)
        percentages.append(throttle.percent)

    assert percentages[:4] == [0, 20, 20, 30]
    assert percentages[1::2] == [*STEPS_PERCENT, STEPS_PERCENT[-1]]


def test_dirtying_half_of_sent_memory_causes_no_throttle() -> None:
    throttle = Throttle()

    for sync_number in range(1, 21):
        throttle.record_dirty_sync(50.0, 100.0 * sync_number, 2.0 * sync_number)

    assert throttle.percent == 0


def test_dirty_syncs_within_a_second_count_once() -> None:
    """
    Auto-converge checks the dirty rate at most once per second, not after each dirty sync.

    Preconditions: QEMU reads the dirty log (a dirty sync) at 0.4 s, 0.8 s, 1.2 s and 3 s. The dirty
    rate is high.
    Expected: auto-converge checks the dirty rate at 1.2 s and at 3 s. The first check comes only
    after the first second, so the syncs at 0.4 s and 0.8 s cause no check. The throttle needs two
    checks with a high rate, so the throttle starts at 3 s.
    """
    throttle = Throttle()

    for sync_number in range(1, 4):
        throttle.record_dirty_sync(30.0, 50.0 * sync_number, 0.4 * sync_number)
    assert throttle.percent == 0

    throttle.record_dirty_sync(30.0, 200.0, 3.0)
    assert throttle.percent == 20


def test_guest_is_throttled_only_after_high_dirty_rate() -> None:
    """
    The throttle of a guest increases only after two iterations with a high dirty rate.

    Preconditions: the guest has 1000 MiB of memory and dirties 150 MiB/s without a throttle. The
    bandwidth is 100 MiB/s. An iteration has a high dirty rate if the guest dirties more than half
    of the memory that QEMU sends.
    Expected: the throttle increases from 0 % to 20 %, and then in steps of 10 % to 70 %. With 70 %,
    the guest dirties 45 MiB/s. This dirty rate is low, so the throttle stays at 70 %. All
    iterations take 103 s. The times of the iterations with each throttle are:

    - 0 %: 10 s, 10 s
    - 20 %: 10 s, 10 s
    - 30 %: 10 s, 10 s
    - 40 %: 10 s, 9 s
    - 50 %: 8.1 s, 6.1 s
    - 60 %: 4.6 s, 2.7 s
    - 70 %: 1.6 s, 0.7 s, 0.3 s

    An iteration sends the memory that the guest dirtied in the iteration before. With up to 30 %,
    the guest dirties all 1000 MiB in 10 s. With 40 %, the guest dirties 90 MiB/s, so 900 MiB in
    the first iteration of 10 s. QEMU sends these 900 MiB in the second iteration, in 9 s.

    With 70 % from the start, the migration takes less than 25 s.
    """
    dirty_model = DirtyModel(build_cyclic_curve(150.0, 1000.0), 1000.0)
    throttle = Throttle()

    prediction = simulate_precopy(1000.0, dirty_model, TRANSFER_MODEL, LIMITS, throttle)
    fully_throttled_prediction = simulate_precopy(
        1000.0, dirty_model.throttled(throttle.cpu_share), TRANSFER_MODEL, LIMITS
    )

    assert prediction.converges
    assert throttle.percent == 70
    assert prediction.total_s == pytest.approx(1.0 + 103.0, abs=3.0)
    assert fully_throttled_prediction.total_s < 25.0


def test_same_load_without_throttle_does_not_converge() -> None:
    dirty_model = DirtyModel(build_cyclic_curve(150.0, 1000.0), 1000.0)

    assert not simulate_precopy(1000.0, dirty_model, TRANSFER_MODEL, LIMITS).converges
