"""How much a guest dirties in a time: shapes of loads, and curves through what was measured."""

import pytest

from migqual.model.guest import Pattern
from migqual.predict.curves import Dirtying, cyclic, measured, saturating
from migqual.predict.fit import fitted
from migqual.predict.loads import curve_of

pytestmark = pytest.mark.selftest

WINDOWS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


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
    slowed = Dirtying(cyclic(120.0, 10_000.0)).slowed(2 / 3)

    assert slowed.curve(3.0) == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("dirtying", "waiting", "added"),
    [
        (Dirtying(cyclic(10.0, 20.0), 20.0), 5.0, 15.0),
        (Dirtying(cyclic(10.0, 20.0), 20.0), 18.0, 20.0),
        (Dirtying(cyclic(10.0, 20.0), 20.0), 90.0, 90.0),
        (Dirtying(lambda _seconds: 10.0, 20.0, scattered=True), 5.0, 12.5),
        (Dirtying(lambda _seconds: 10.0, 20.0, scattered=True), 90.0, 90.0),
        (Dirtying(lambda _seconds: 0.0, 0.0, scattered=True), 5.0, 5.0),
    ],
)
def test_what_waits_after_a_look(dirtying: Dirtying, waiting: float, added: float) -> None:
    """A scattered load hits pages that wait already; neither goes beyond its set."""
    assert dirtying.added(waiting, 1.0) == pytest.approx(added)


@pytest.mark.parametrize("rate", [4.0, 20.0, 60.0])
@pytest.mark.parametrize("shape", [cyclic, saturating])
def test_fit_finds_the_load_back(shape: type, rate: float) -> None:
    """Whole seconds are enough for what happens within the first one."""
    curve = shape(rate, 96.0)

    found = fitted({seconds: curve(seconds) for seconds in (1.0, 2.0, 4.0)})

    for seconds in (0.2, 0.5, 1.0, 1.5, 3.0):
        assert found.curve(seconds) == pytest.approx(curve(seconds), rel=0.12)


def test_fit_of_nothing_is_nothing() -> None:
    found = fitted({1.0: 0.0, 2.0: 0.0})

    assert (found.curve(10.0), found.working_set_mib) == (0.0, 0.0)


def test_short_windows_tell_a_fast_set_from_a_slow_one() -> None:
    """A set that is full after a second is known as such, in order or at random."""
    curve = cyclic(32.0, 32.0)

    found = fitted({seconds: curve(seconds) for seconds in WINDOWS_S})

    assert found.curve(0.3) == pytest.approx(curve(0.3), rel=0.1)
    assert found.working_set_mib == pytest.approx(32.0, rel=0.07)


def test_scatter_of_a_short_window_is_evened_out() -> None:
    """A tenth of a second saw half as much again: the others say what the load is."""
    curve = cyclic(20.0, 96.0)
    windows = {seconds: curve(seconds) for seconds in WINDOWS_S} | {0.1: 3.0}

    assert fitted(windows).curve(1.5) == pytest.approx(curve(1.5), rel=0.1)


def test_saturated_within_the_first_window_is_taken_for_fast() -> None:
    """What cannot be seen is not taken for slow: the set may be full at once."""
    assert fitted({1.0: 20.0, 2.0: 20.0}).curve(0.7) > 14.0


@pytest.mark.parametrize("pattern", list(Pattern))
def test_oracle_starts_at_the_rate_and_ends_at_the_set(pattern: Pattern) -> None:
    curve = curve_of(pattern, 50.0, 200.0)

    assert curve(0.001) == pytest.approx(0.05, rel=0.01)
    assert curve(10_000.0) == pytest.approx(200.0)


def test_hot_spot_dirties_less_than_random() -> None:
    hot, random = (curve_of(p, 60.0, 100.0)(2.0) for p in (Pattern.HOT_SPOT, Pattern.RANDOM))

    assert hot < random / 2
