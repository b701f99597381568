"""The model of pre-copy, on cases that one can reckon by hand."""

import math

import pytest

from migqual.predict.model import (
    Link,
    cyclic,
    measured,
    predict,
    saturating,
    smallest_limit_s,
    throttled,
)

pytestmark = pytest.mark.selftest

LINK = Link(bandwidth_mib_s=100.0)
LIMIT_S = 0.3


def test_idle_guest_is_sent_once() -> None:
    """Nothing is dirtied: one round, and nothing is left for the rest."""
    found = predict(512.0, cyclic(0, 0), LINK, LIMIT_S)

    assert found.converges
    assert found.rounds == 1
    assert found.total_s == pytest.approx(5.12)
    assert found.sent_mib == pytest.approx(512.0)
    assert found.down_s == 0.0


def test_rounds_are_a_geometric_series_below_saturation() -> None:
    """A rate of half the bandwidth halves the volume from round to round."""
    found = predict(800.0, cyclic(50.0, 10_000.0), LINK, LIMIT_S)

    # 800, 400, 200, 100, 50 are sent; 25 fit into 0.3 s
    assert found.rounds == 5
    assert found.sent_mib == pytest.approx(1575.0)
    assert found.total_s == pytest.approx(15.75)
    assert found.down_s == pytest.approx(0.25)


def test_rate_above_the_bandwidth_does_not_converge() -> None:
    found = predict(512.0, cyclic(120.0, 512.0), LINK, LIMIT_S)

    assert not found.converges


def test_small_working_set_converges_at_any_rate() -> None:
    """What is dirtied can never be more than the working set: 20 MiB fit into the limit."""
    found = predict(512.0, cyclic(10_000.0, 20.0), LINK, LIMIT_S)

    assert found.converges
    assert found.rounds == 1
    assert found.down_s == pytest.approx(0.2)


def test_costs_beside_the_bytes_are_counted() -> None:
    link = Link(100.0, round_s=0.5, setup_s=0.2, devices_s=0.05)

    found = predict(100.0, cyclic(10.0, 1000.0), link, LIMIT_S)

    # 1.5 s for the first round, in which 15 MiB are dirtied
    assert found.total_s == pytest.approx(0.2 + 1.5 + 0.15 + 0.05)
    assert found.down_s == pytest.approx(0.2)


@pytest.mark.parametrize("rate", [30.0, 90.0, 150.0, 400.0])
def test_smallest_limit_is_the_boundary(rate: float) -> None:
    """With a little more it converges, with a little less it does not."""
    curve = saturating(rate, 200.0)
    limit_s = smallest_limit_s(1024.0, curve, LINK)

    assert predict(1024.0, curve, LINK, limit_s * 1.01 + 1e-9).converges
    assert rate < LINK.bandwidth_mib_s or not predict(1024.0, curve, LINK, limit_s * 0.98).converges


def test_saturating_curve_starts_at_its_rate_and_ends_at_its_set() -> None:
    curve = saturating(50.0, 200.0)

    assert curve(0.001) == pytest.approx(0.05, rel=0.01)
    assert curve(1000.0) == pytest.approx(200.0)
    assert saturating(0.0, 200.0)(9.0) == 0.0


def test_measured_curve_goes_through_its_points_and_on() -> None:
    curve = measured({1.0: 40.0, 0.5: 25.0})

    assert [curve(t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 12.5, 25.0, 32.5, 40.0]
    assert curve(2.0) == pytest.approx(70.0)


@pytest.mark.parametrize("points", [{}, {0.0: 1.0}, {-1.0: 3.0}])
def test_measured_curve_needs_windows(points: dict[float, float]) -> None:
    with pytest.raises(ValueError, match="windows"):
        measured(points)


def test_throttle_slows_the_guest() -> None:
    """Two thirds of the CPU taken: the same memory in three times the time."""
    curve = throttled(cyclic(120.0, 10_000.0), 2 / 3)

    assert curve(3.0) == pytest.approx(120.0)
    assert not predict(512.0, cyclic(120.0, 10_000.0), LINK, LIMIT_S).converges
    assert predict(512.0, curve, LINK, LIMIT_S).converges


def test_model_never_runs_for_ever() -> None:
    """A volume that shrinks ever more slowly ends as not converging."""
    found = predict(1000.0, lambda seconds: 99.9999999 * seconds, LINK, 1e-9)

    assert not found.converges
    assert math.isfinite(found.total_s)
