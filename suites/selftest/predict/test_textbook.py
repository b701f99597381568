"""Tests of textbook pre-copy in whole rounds, with cases calculated by hand."""

import math

import pytest

from migqual.predict.dirty_curve import DirtyModel, build_cyclic_curve
from migqual.predict.precopy import MigrationLimits, TransferModel, simulate_textbook_precopy

pytestmark = pytest.mark.selftest

TRANSFER_MODEL = TransferModel(bandwidth_mib_s=100.0, paused_bandwidth_mib_s=100.0)
LIMITS = MigrationLimits(downtime_limit_s=0.3)


def test_idle_guest_is_sent_once() -> None:
    """An idle guest dirties no memory, so QEMU sends all memory in a single round.

    No memory remains to send during the downtime, so the downtime is 0.
    """
    prediction = simulate_textbook_precopy(
        512.0, DirtyModel(build_cyclic_curve(0, 0)), TRANSFER_MODEL, LIMITS
    )

    assert prediction.converges
    assert prediction.rounds == 1
    assert prediction.total_s == pytest.approx(5.12)
    assert prediction.sent_mib == pytest.approx(512.0)
    assert prediction.downtime_s == 0.0


def test_rounds_are_a_geometric_series_below_saturation() -> None:
    """At a dirty rate of half the bandwidth, each round sends half as much as the one before."""
    prediction = simulate_textbook_precopy(
        800.0, DirtyModel(build_cyclic_curve(50.0, 10_000.0)), TRANSFER_MODEL, LIMITS
    )

    # 800, 400, 200, 100, 50 are sent; 25 fit into 0.3 s
    assert prediction.rounds == 5
    assert prediction.sent_mib == pytest.approx(1575.0)
    assert prediction.total_s == pytest.approx(15.75)
    assert prediction.downtime_s == pytest.approx(0.25)


def test_rate_above_the_bandwidth_does_not_converge() -> None:
    assert not simulate_textbook_precopy(
        512.0, DirtyModel(build_cyclic_curve(120.0, 512.0)), TRANSFER_MODEL, LIMITS
    ).converges


def test_small_working_set_converges_at_any_rate() -> None:
    """A migration converges at any dirty rate if the working set fits into the downtime limit.

    The working set has 20 MiB. At 100 MiB/s, QEMU sends 20 MiB in 0.2 s; the downtime limit is
    0.3 s.
    """
    prediction = simulate_textbook_precopy(
        512.0, DirtyModel(build_cyclic_curve(10_000.0, 20.0)), TRANSFER_MODEL, LIMITS
    )

    assert prediction.converges
    assert prediction.rounds == 1
    assert prediction.downtime_s == pytest.approx(0.2)


def test_fixed_costs_are_counted() -> None:
    transfer_model = TransferModel(100.0, 100.0, setup_s=0.2, dirty_sync_s=0.5, device_state_s=0.05)

    prediction = simulate_textbook_precopy(
        100.0, DirtyModel(build_cyclic_curve(10.0, 1000.0)), transfer_model, LIMITS
    )

    # 1.5 s for the first round, in which 15 MiB are dirtied
    assert prediction.total_s == pytest.approx(0.2 + 1.5 + 0.15 + 0.05)
    assert prediction.downtime_s == pytest.approx(0.2)


def test_throttled_guest_converges() -> None:
    """The guest converges only after the throttle takes two thirds of the CPU."""
    dirty_model = DirtyModel(build_cyclic_curve(120.0, 10_000.0))

    assert not simulate_textbook_precopy(512.0, dirty_model, TRANSFER_MODEL, LIMITS).converges
    assert simulate_textbook_precopy(
        512.0, dirty_model.throttled(2 / 3), TRANSFER_MODEL, LIMITS
    ).converges


def test_migration_beyond_deadline_does_not_converge() -> None:
    assert not simulate_textbook_precopy(
        512.0,
        DirtyModel(build_cyclic_curve(0, 0)),
        TRANSFER_MODEL,
        MigrationLimits(0.3, deadline_s=5.0),
    ).converges


def test_endless_rounds_do_not_converge() -> None:
    """The simulation ends without convergence if the rounds become only slightly smaller."""
    dirty_model = DirtyModel(lambda seconds: 99.9999999 * seconds)

    prediction = simulate_textbook_precopy(
        1000.0, dirty_model, TRANSFER_MODEL, MigrationLimits(1e-9)
    )

    assert not prediction.converges
    assert math.isfinite(prediction.total_s)
