"""Pre-copy as QEMU does it, the curve through measured windows, advice and score: by hand."""

import math

import pytest

from migqual.predict.advice import AUTO_CONVERGE, POSTCOPY, Case, Choice, choices
from migqual.predict.calibrate import Quiet, calibrated
from migqual.predict.curves import Dirtying, cyclic, saturating
from migqual.predict.fit import fitted
from migqual.predict.precopy import Carrier, Prediction, Wanted, band, foretell
from migqual.predict.score import Cell, Score, Told

pytestmark = pytest.mark.selftest

CARRIER = Carrier(bandwidth_mib_s=32.0, resting_mib_s=320.0, setup_s=1.0, devices_s=0.05)
WANTED = Wanted(limit_s=0.3, deadline_s=60.0)


def test_idle_guest_rests_with_what_fits() -> None:
    """All but 9.6 MiB at the limit; the rest at the link's own speed."""
    found = foretell(105.6, Dirtying(cyclic(0, 0)), CARRIER, WANTED)

    assert found.converges
    assert found.sent_mib == pytest.approx(105.6)
    assert found.down_s == pytest.approx(0.05 + 9.6 / 320, abs=0.011)
    assert found.total_s == pytest.approx(1.0 + 3.0 + found.down_s, abs=0.11)


def test_small_set_converges_at_any_rate() -> None:
    assert foretell(200.0, Dirtying(cyclic(1000.0, 8.0), 8.0), CARRIER, WANTED).converges


def test_faster_than_the_link_does_not_converge() -> None:
    found = foretell(200.0, Dirtying(cyclic(48.0, 96.0), 96.0), CARRIER, WANTED)

    assert not found.converges
    assert found.total_s >= WANTED.deadline_s


def test_later_than_the_deadline_is_never() -> None:
    assert not foretell(200.0, Dirtying(cyclic(0, 0)), CARRIER, Wanted(0.3, 5.0)).converges


def test_no_load_lasts_for_ever() -> None:
    """Without a deadline the rounds end it."""
    assert not foretell(200.0, Dirtying(cyclic(64.0, 96.0)), CARRIER, Wanted(0.3)).converges


def test_band_is_around_the_boundary_only() -> None:
    """Some rate between slow and hopeless is too near to call; the ends are not."""
    near = [
        band(200.0, Dirtying(cyclic(float(rate), 96.0), 96.0), CARRIER, WANTED)
        for rate in range(2, 64, 1)
    ]

    assert not near[0]
    assert not near[-1]
    assert any(near)


def test_scattered_load_hits_what_waits_already() -> None:
    """8 MiB where 4.8 may wait: in order they never fit, at random they do after some looks."""
    carrier = Carrier(bandwidth_mib_s=16.0, resting_mib_s=320.0)

    in_order = foretell(100.0, Dirtying(cyclic(24.0, 8.0), 8.0), carrier, WANTED)
    scattered = Dirtying(saturating(24.0, 8.0), 8.0, scattered=True)

    assert not in_order.converges
    assert foretell(100.0, scattered, carrier, WANTED).converges


def test_calibration_takes_the_bytes_away() -> None:
    """What is not spent on moving is set-up; the rest's last bytes go at the link's own speed."""
    quiets = [
        Quiet(32.0, total_s=2.8 + 0.9, moving_s=2.8, down_s=0.1, sent_mib=96.0),
        Quiet(64.0, total_s=1.4 + 0.8, moving_s=1.4, down_s=0.13, sent_mib=96.0),
        Quiet(None, total_s=0.37 + 1.1, moving_s=0.37, down_s=0.07, sent_mib=96.0),
    ]

    found = calibrated(quiets, downtime_s=0.3)

    assert found.setup_s == pytest.approx(0.9)
    assert found.link_mib_s == pytest.approx(320.0)
    assert found.devices_s == pytest.approx(0.07)
    assert found.carrier(None).bandwidth_mib_s == found.link_mib_s
    assert found.carrier(16).bandwidth_mib_s == 16


@pytest.mark.parametrize("limit", [None, 32.0])
def test_calibration_wants_both_kinds(limit: float | None) -> None:
    with pytest.raises(ValueError, match="references"):
        calibrated([Quiet(limit, 3.0, 2.0, 0.1, 96.0)], downtime_s=0.3)


def test_advice_finds_a_way_for_a_hopeless_guest() -> None:
    load = fitted({seconds: cyclic(48.0, 96.0)(seconds) for seconds in (1.0, 2.0, 4.0)})

    found = {
        choice.setting: choice.foretold for choice in choices(Case(200, load, CARRIER, WANTED), {})
    }

    as_asked = found.pop("as asked")
    assert as_asked is not None
    assert not as_asked.converges
    for name in ("downtime", "bandwidth", "auto-converge", "post-copy"):
        told = found[name]
        assert told is not None, name
        assert told.converges, name


def test_advice_is_not_given_for_what_is_not_there() -> None:
    load = Dirtying(cyclic(48.0, 96.0), 96.0)
    absent = {POSTCOPY: "b: QEMU 2.0.0 has none", AUTO_CONVERGE: "a: QEMU 2.0.0 has none"}

    found = {choice.setting: choice for choice in choices(Case(200, load, CARRIER, WANTED), absent)}

    assert found["post-copy"] == Choice("post-copy", absent[POSTCOPY], None)
    assert found["auto-converge"] == Choice("auto-converge", absent[AUTO_CONVERGE], None)
    assert "--parallel" in found["channels"].option


def test_a_limit_that_is_the_links_cannot_be_raised() -> None:
    """Then it is not the limit's value that does not help."""
    load = Dirtying(cyclic(48.0, 96.0), 96.0)
    case = Case(200, load, Carrier(32.0, 32.0), WANTED)

    found = {choice.setting: choice for choice in choices(case, {})}

    assert found["bandwidth"].foretold is None
    assert "link" in found["bandwidth"].option


def test_score_counts_apart_from_the_band() -> None:
    told = Prediction(converges=True, rounds=1, total_s=11.0, down_s=0.2, sent_mib=1.0)
    never = Prediction(converges=False, rounds=1, total_s=math.inf, down_s=0.2, sent_mib=1.0)

    def clear(prediction: Prediction) -> Told:
        return Told(prediction, banded=False, textbook=never)

    score = Score(
        (
            Cell("right", clear(told), converged=True, total_s=10.0, down_s=0.1),
            Cell("wrong", clear(told), converged=False, total_s=None, down_s=None),
            Cell("as told", clear(never), converged=False, total_s=None, down_s=None),
            Cell(
                "near",
                Told(never, banded=True, textbook=told),
                converged=True,
                total_s=9.0,
                down_s=0.1,
            ),
        )
    )

    assert score.accuracy == pytest.approx(2 / 3)
    assert score.total_error(0.9) == pytest.approx(0.1)
    assert score.down_error(0.5) == pytest.approx(1.0)
    assert score.confusion["converges / does not"] == 1
    assert score.as_data()["excluded_near_the_boundary"] == 1
    assert score.textbook_error(0.9) == pytest.approx(2 / 9)
    assert score.as_data()["cells"][0]["foretold"]["total_s"] == 11.0
