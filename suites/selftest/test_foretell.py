"""Pre-copy as QEMU does it, the curve through measured windows, advice and score: by hand."""

import math

import pytest

from migqual.model.guest import Pattern
from migqual.predict.advice import Case, choices
from migqual.predict.calibrate import Quiet, calibrated
from migqual.predict.fit import fitted
from migqual.predict.loads import curve_of
from migqual.predict.model import Prediction, cyclic, saturating
from migqual.predict.qemu import Carrier, Wanted, band, foretell
from migqual.predict.score import Cell, Score

pytestmark = pytest.mark.selftest

CARRIER = Carrier(bandwidth_mib_s=32.0, resting_mib_s=320.0, setup_s=1.0, devices_s=0.05)
WANTED = Wanted(limit_s=0.3, deadline_s=60.0)


def test_idle_guest_rests_with_what_fits() -> None:
    """All but 9.6 MiB at the limit; the rest at the link's own speed."""
    found = foretell(105.6, cyclic(0, 0), CARRIER, WANTED)

    assert found.converges
    assert found.sent_mib == pytest.approx(105.6)
    assert found.down_s == pytest.approx(0.05 + 9.6 / 320, abs=0.011)
    assert found.total_s == pytest.approx(1.0 + 3.0 + found.down_s, abs=0.11)


def test_small_set_converges_at_any_rate() -> None:
    assert foretell(200.0, cyclic(1000.0, 8.0), CARRIER, WANTED, 8.0).converges


def test_faster_than_the_link_does_not_converge() -> None:
    found = foretell(200.0, cyclic(48.0, 96.0), CARRIER, WANTED, 96.0)

    assert not found.converges
    assert found.total_s >= WANTED.deadline_s


def test_later_than_the_deadline_is_never() -> None:
    assert not foretell(200.0, cyclic(0, 0), CARRIER, Wanted(0.3, 5.0)).converges


def test_no_load_lasts_for_ever() -> None:
    """Without a deadline the rounds end it."""
    assert not foretell(200.0, cyclic(64.0, 96.0), CARRIER, Wanted(0.3)).converges


def test_band_is_around_the_boundary_only() -> None:
    """Some rate between slow and hopeless is too near to call; the ends are not."""
    near = [
        band(200.0, cyclic(float(rate), 96.0), CARRIER, WANTED, 96.0) for rate in range(2, 64, 1)
    ]

    assert not near[0]
    assert not near[-1]
    assert any(near)


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


def test_calibration_takes_the_bytes_away() -> None:
    """96 MiB at 32 with 9.6 left for the rest: 2.7 s; what is more is set-up."""
    held = Quiet(total_s=2.7 + 0.9 + 0.1, down_s=0.1, sent_mib=96.0)
    free = Quiet(total_s=0.9 + 0.3 + 0.05, down_s=0.05, sent_mib=96.0)

    found = calibrated(held, free, limit_mib_s=32.0, downtime_s=0.3)

    assert found.setup_s == pytest.approx(0.9)
    assert found.link_mib_s == pytest.approx(320.0)
    assert found.devices_s == pytest.approx(0.07)
    assert found.carrier(None).bandwidth_mib_s == found.link_mib_s
    assert found.carrier(16).bandwidth_mib_s == 16


def test_advice_finds_a_way_for_a_hopeless_guest() -> None:
    load = fitted({seconds: cyclic(48.0, 96.0)(seconds) for seconds in (1.0, 2.0, 4.0)})

    found = {
        choice.setting: choice.foretold for choice in choices(Case(200, load, CARRIER, WANTED))
    }

    as_asked = found.pop("as asked")
    assert as_asked is not None
    assert not as_asked.converges
    for name in ("downtime", "bandwidth", "auto-converge", "post-copy"):
        told = found[name]
        assert told is not None, name
        assert told.converges, name


def test_score_counts_apart_from_the_band() -> None:
    told = Prediction(converges=True, rounds=1, total_s=11.0, down_s=0.2, sent_mib=1.0)
    never = Prediction(converges=False, rounds=1, total_s=math.inf, down_s=0.2, sent_mib=1.0)
    score = Score(
        (
            Cell("right", told, banded=False, converged=True, total_s=10.0, down_s=0.1),
            Cell("wrong", told, banded=False, converged=False, total_s=None, down_s=None),
            Cell("as told", never, banded=False, converged=False, total_s=None, down_s=None),
            Cell("near", never, banded=True, converged=True, total_s=9.0, down_s=0.1),
        )
    )

    assert score.accuracy == pytest.approx(2 / 3)
    assert score.total_error(0.9) == pytest.approx(0.1)
    assert score.down_error(0.5) == pytest.approx(1.0)
    assert score.confusion["converges / does not"] == 1
    assert score.as_data()["excluded_near_the_boundary"] == 1
