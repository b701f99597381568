"""Dirty curves (dirtied memory over time) of known loads and of measured windows."""

import pytest

from migqual.model.guest_spec import WritePattern
from migqual.predict.dirty_curve import (
    DirtyModel,
    build_cyclic_curve,
    build_load_curve,
    build_saturating_curve,
    fit_dirty_model,
    interpolate_curve,
)

pytestmark = pytest.mark.selftest

WINDOWS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def test_saturating_curve_has_rate_and_working_set() -> None:
    curve = build_saturating_curve(50.0, 200.0)

    assert curve(0.001) == pytest.approx(0.05, rel=0.01)
    assert curve(1000.0) == pytest.approx(200.0)
    assert build_saturating_curve(0.0, 200.0)(9.0) == 0.0


def test_interpolated_curve_meets_its_points() -> None:
    curve = interpolate_curve({1.0: 40.0, 0.5: 25.0})

    assert [curve(seconds) for seconds in (0.0, 0.25, 0.5, 0.75, 1.0)] == [
        0.0,
        12.5,
        25.0,
        32.5,
        40.0,
    ]
    assert curve(2.0) == pytest.approx(70.0)


@pytest.mark.parametrize("points", [{}, {0.0: 1.0}, {-1.0: 3.0}])
def test_interpolated_curve_needs_windows(points: dict[float, float]) -> None:
    with pytest.raises(ValueError, match="time window"):
        interpolate_curve(points)


def test_throttled_guest_dirties_less() -> None:
    """With a third of the CPU time, a guest needs three times as long to dirty the same memory."""
    throttled_model = DirtyModel(build_cyclic_curve(120.0, 10_000.0)).throttled(2 / 3)

    assert throttled_model.curve(3.0) == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("dirty_model", "pending_mib", "expected_mib"),
    [
        (DirtyModel(build_cyclic_curve(10.0, 20.0), 20.0), 5.0, 15.0),
        (DirtyModel(build_cyclic_curve(10.0, 20.0), 20.0), 18.0, 20.0),
        (DirtyModel(build_cyclic_curve(10.0, 20.0), 20.0), 90.0, 90.0),
        (DirtyModel(lambda _seconds: 10.0, 20.0, is_random=True), 5.0, 12.5),
        (DirtyModel(lambda _seconds: 10.0, 20.0, is_random=True), 90.0, 90.0),
        (DirtyModel(lambda _seconds: 0.0, 0.0, is_random=True), 5.0, 5.0),
    ],
)
def test_pending_memory_after_a_dirty_sync(
    dirty_model: DirtyModel, pending_mib: float, expected_mib: float
) -> None:
    """A random load adds less pending memory (memory that QEMU must send) than a sequential load.

    A random load also writes to pages that are already pending. Writes never increase the pending
    memory above the size of the working set.
    """
    assert dirty_model.pending_after(pending_mib, 1.0) == pytest.approx(expected_mib)


@pytest.mark.parametrize("rate_mib_s", [4.0, 20.0, 60.0])
@pytest.mark.parametrize("build_curve", [build_cyclic_curve, build_saturating_curve])
def test_fit_recovers_the_load(build_curve: type, rate_mib_s: float) -> None:
    """A fitted dirty curve differs from the curve of the load by at most 12 %.

    The measurements take 1 s and longer, but the fitted curve is also correct for shorter times.
    """
    curve = build_curve(rate_mib_s, 96.0)

    dirty_model = fit_dirty_model({seconds: curve(seconds) for seconds in (1.0, 2.0, 4.0)})

    for seconds in (0.2, 0.5, 1.0, 1.5, 3.0):
        assert dirty_model.curve(seconds) == pytest.approx(curve(seconds), rel=0.12)


def test_fit_of_an_idle_guest_is_zero() -> None:
    dirty_model = fit_dirty_model({1.0: 0.0, 2.0: 0.0})

    assert (dirty_model.curve(10.0), dirty_model.working_set_mib) == (0.0, 0.0)


def test_short_windows_show_the_working_set() -> None:
    """The fitted model has the correct working set, also for a fast load.

    The load dirties its whole working set in 1 s. Measurement windows shorter than 1 s show how
    the dirtied memory grows within this second.
    """
    curve = build_cyclic_curve(32.0, 32.0)

    dirty_model = fit_dirty_model({seconds: curve(seconds) for seconds in WINDOWS_S})

    assert dirty_model.curve(0.3) == pytest.approx(curve(0.3), rel=0.1)
    assert dirty_model.working_set_mib == pytest.approx(32.0, rel=0.07)


def test_fit_smooths_an_outlier_window() -> None:
    """A single wrong measurement has little effect on the fitted dirty curve.

    In the window of 0.1 s, the load dirtied 2 MiB, but 3 MiB were measured. The measurements of
    the other windows are correct.
    """
    curve = build_cyclic_curve(20.0, 96.0)
    windows = {seconds: curve(seconds) for seconds in WINDOWS_S} | {0.1: 3.0}

    assert fit_dirty_model(windows).curve(1.5) == pytest.approx(curve(1.5), rel=0.1)


def test_saturation_within_the_first_window_counts_as_fast() -> None:
    """If a load dirties its whole working set in the first time window, the load counts as fast.

    The first time window is 1 s. No measurement shows how fast the guest dirtied the memory within
    this second. Therefore the fitted dirty curve has a high rate. A curve with a low rate could
    make the prediction too optimistic.
    """
    assert fit_dirty_model({1.0: 20.0, 2.0: 20.0}).curve(0.7) > 14.0


@pytest.mark.parametrize("pattern", list(WritePattern))
def test_load_curve_has_rate_and_working_set(pattern: WritePattern) -> None:
    curve = build_load_curve(pattern, 50.0, 200.0)

    assert curve(0.001) == pytest.approx(0.05, rel=0.01)
    assert curve(10_000.0) == pytest.approx(200.0)


def test_hot_spot_dirties_less_than_random() -> None:
    hot_spot_mib, random_mib = (
        build_load_curve(pattern, 60.0, 100.0)(2.0)
        for pattern in (WritePattern.HOT_SPOT, WritePattern.RANDOM)
    )

    assert hot_spot_mib < random_mib / 2
