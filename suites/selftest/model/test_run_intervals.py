"""The events STOP and RESUME of both hosts show whether a guest ran on both at the same time."""

from math import inf

import pytest

from migqual.model.guest_event import GuestEvent
from migqual.model.run_intervals import ClockDifference, find_run_overlap_ms

pytestmark = pytest.mark.selftest

SOURCE, DESTINATION = "a1", "b1"
ONE_CLOCK = ClockDifference()


def build_events(*events: tuple[str, str, int]) -> list[GuestEvent]:
    """Build events from host, name and the time on the clock of the host in ms."""
    return [GuestEvent(host, name, 0.0, at_ms * 1000) for host, name, at_ms in events]


@pytest.mark.parametrize(
    ("events", "expected_ms"),
    [
        ([], 0.0),
        ([(SOURCE, "STOP", 10), (DESTINATION, "RESUME", 40)], 0.0),
        ([(DESTINATION, "RESUME", 10), (SOURCE, "STOP", 40)], 30.0),
        ([(SOURCE, "STOP", 10), (SOURCE, "RESUME", 30)], 0.0),
        ([(SOURCE, "STOP", 10), (DESTINATION, "RESUME", 40), (SOURCE, "RESUME", 90)], inf),
        (
            [
                (SOURCE, "STOP", 10),
                (DESTINATION, "RESUME", 40),
                (SOURCE, "RESUME", 90),
                (DESTINATION, "STOP", 95),
            ],
            5.0,
        ),
        ([(DESTINATION, "RESUME", 40)], 0.0),
    ],
    ids=[
        "no-event",
        "normal",
        "overlap",
        "failed",
        "source-resumes-late",
        "source-resumes-for-a-while",
        "no-stop",
    ],
)
def test_times_on_both_hosts_are_found(
    events: list[tuple[str, str, int]], expected_ms: float
) -> None:
    overlap_ms = find_run_overlap_ms(build_events(*events), SOURCE, DESTINATION, ONE_CLOCK)

    assert overlap_ms == expected_ms


def test_difference_of_the_clocks_is_subtracted() -> None:
    """
    If a guest ran on both hosts at the same time, different clocks do not hide the overlap.

    Preconditions: the clock of the destination is 300 ms ahead, measured with an error of 2 ms. The
    guest stops at the source at 1000 ms. The guest starts at the destination at 1050 ms on the
    clock of the destination, which is 750 ms on the clock of the source.
    Expected: the overlap is 248 ms: from 750 ms to 1000 ms, minus the error of 2 ms. An overlap
    that is shorter than the error counts as 0 ms.
    """
    events = build_events((SOURCE, "STOP", 1000), (DESTINATION, "RESUME", 1050))
    difference = ClockDifference(offset_us=300_000, error_us=2_000)

    assert find_run_overlap_ms(events, SOURCE, DESTINATION, difference) == 248.0
    assert find_run_overlap_ms(events, SOURCE, DESTINATION, ONE_CLOCK) == 0.0
    assert (
        find_run_overlap_ms(
            events, SOURCE, DESTINATION, ClockDifference(offset_us=51_000, error_us=2_000)
        )
        == 0.0
    )


def test_two_measurements_of_the_clocks_are_combined() -> None:
    """
    Two measurements of the clock difference are combined into their mean.

    Preconditions: the first measurement is 1000 µs with an error of 100 µs. The second measurement
    is 3000 µs with an error of 300 µs.
    Expected: the mean is 2000 µs, with an error of 1300 µs. The error is 300 µs (the larger of the
    two errors) plus 1000 µs (half of the change between the measurements).
    """
    before, after = ClockDifference(1000, 100), ClockDifference(3000, 300)

    assert before.combine(after) == ClockDifference(2000, 1300)
    assert ONE_CLOCK.combine(ONE_CLOCK) == ONE_CLOCK
