"""Pre-copy in whole rounds, on cases that one can reckon by hand."""

import math

import pytest

from migqual.predict.curves import Dirtying, cyclic
from migqual.predict.precopy import Carrier, Wanted
from migqual.predict.textbook import rounds

pytestmark = pytest.mark.selftest

CARRIER = Carrier(bandwidth_mib_s=100.0, resting_mib_s=100.0)
WANTED = Wanted(limit_s=0.3)


def test_idle_guest_is_sent_once() -> None:
    """Nothing is dirtied: one round, and nothing is left for the rest."""
    found = rounds(512.0, Dirtying(cyclic(0, 0)), CARRIER, WANTED)

    assert found.converges
    assert found.rounds == 1
    assert found.total_s == pytest.approx(5.12)
    assert found.sent_mib == pytest.approx(512.0)
    assert found.down_s == 0.0


def test_rounds_are_a_geometric_series_below_saturation() -> None:
    """A rate of half the bandwidth halves the volume from round to round."""
    found = rounds(800.0, Dirtying(cyclic(50.0, 10_000.0)), CARRIER, WANTED)

    # 800, 400, 200, 100, 50 are sent; 25 fit into 0.3 s
    assert found.rounds == 5
    assert found.sent_mib == pytest.approx(1575.0)
    assert found.total_s == pytest.approx(15.75)
    assert found.down_s == pytest.approx(0.25)


def test_rate_above_the_bandwidth_does_not_converge() -> None:
    assert not rounds(512.0, Dirtying(cyclic(120.0, 512.0)), CARRIER, WANTED).converges


def test_small_working_set_converges_at_any_rate() -> None:
    """What is dirtied can never be more than the working set: 20 MiB fit into the limit."""
    found = rounds(512.0, Dirtying(cyclic(10_000.0, 20.0)), CARRIER, WANTED)

    assert found.converges
    assert found.rounds == 1
    assert found.down_s == pytest.approx(0.2)


def test_costs_beside_the_bytes_are_counted() -> None:
    carrier = Carrier(100.0, 100.0, setup_s=0.2, look_s=0.5, devices_s=0.05)

    found = rounds(100.0, Dirtying(cyclic(10.0, 1000.0)), carrier, WANTED)

    # 1.5 s for the first round, in which 15 MiB are dirtied
    assert found.total_s == pytest.approx(0.2 + 1.5 + 0.15 + 0.05)
    assert found.down_s == pytest.approx(0.2)


def test_throttled_guest_converges() -> None:
    """Two thirds of the CPU taken: what was hopeless is not."""
    restless = Dirtying(cyclic(120.0, 10_000.0))

    assert not rounds(512.0, restless, CARRIER, WANTED).converges
    assert rounds(512.0, restless.slowed(2 / 3), CARRIER, WANTED).converges


def test_later_than_the_deadline_is_never() -> None:
    assert not rounds(512.0, Dirtying(cyclic(0, 0)), CARRIER, Wanted(0.3, deadline_s=5.0)).converges


def test_it_never_runs_for_ever() -> None:
    """A volume that shrinks ever more slowly ends as not converging."""
    ever = Dirtying(lambda seconds: 99.9999999 * seconds)

    found = rounds(1000.0, ever, CARRIER, Wanted(1e-9))

    assert not found.converges
    assert math.isfinite(found.total_s)
