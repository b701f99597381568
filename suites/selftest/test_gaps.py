"""Gaps from the meter's lines; calibration; split brain; all pure."""

import pytest

from migqual.model.outcome import HostEvent, Outcome, Status
from migqual.model.plan import Plan
from migqual.observe import gaps
from migqual.observe.calibration import paused_ms, percentile
from migqual.observe.gaps import SessionAnswer, Trace

pytestmark = pytest.mark.selftest

MS = 1_000_000


def answers(*silences_ms: int) -> list[int]:
    """Times of answers, ns, with these distances between them."""
    times = [1_000 * MS]
    for length in silences_ms:
        times.append(times[-1] + length * MS)
    return times


def trace(*lines: str) -> Trace:
    found = Trace()
    for line in lines:
        found.take(line)
    return found


def test_two_interruptions_stay_two() -> None:
    """Two silences with one answer between them are two gaps, not one sum."""
    times = answers(2, 2, 52, 2, 72, 2)

    found = gaps.silences(times, times[1], times[-1])

    assert [gap.length_ms for gap in found if gap.length_ms] == [50, 70]


def test_a_gap_that_begins_in_the_window_counts() -> None:
    """Silences outside the window do not count; one that reaches into it does."""
    times = answers(102, 2, 2, 52)

    found = gaps.silences(times, times[2], times[3] + 10 * MS)

    assert [gap.length_ms for gap in found if gap.length_ms] == [50]


def test_noise_is_no_gap() -> None:
    """What an undisturbed window shows too is not held against the migration."""
    quiet = answers(2, 9, 2)
    times = [*quiet, *(quiet[-1] + at * MS for at in (2, 11, 13, 73))]
    found = gaps.report(Trace(answers_ns=times), quiet[0], quiet[-1], times[-1])

    assert found.noise_ms == 7
    assert [gap.length_ms for gap in found.gaps] == [58]
    assert (found.max_ms, found.sum_ms) == (58, 58)


def test_lines_of_the_meter_are_read() -> None:
    """Probes, session, boot id and marks each land where they belong."""
    found = trace("b boot-1", "p 1 1000 2000", "s 1 1000 4000 7 500 0", "m m0 9000", "end 1 1")

    assert found.answers_ns == [2000]
    assert found.session == [SessionAnswer(4000, 3000, 7, 500, 0)]
    assert (found.marks, found.boot_ids, found.broken) == ({"m0": 9000}, ["boot-1"], "")


def test_a_broken_session_is_told() -> None:
    """The words of the break survive."""
    assert trace("e session Connection_reset 5").broken == "Connection reset"


@pytest.mark.parametrize("line", ["p 1 2", "x", "p one two three", "s 1 2 3"])
def test_other_lines_are_no_evidence(line: str) -> None:
    """Something that the meter never says is an error, not a zero."""
    with pytest.raises(ValueError, match=r"meter|invalid literal"):
        Trace().take(line)


@pytest.mark.parametrize(
    ("acked", "uptime", "words"),
    [((5, 6, 6), (1, 2, 3), ""), ((5, 4), (1, 2), "writes fell"), ((5, 6), (9, 2), "uptime fell")],
    ids=["forward", "writes-lost", "older-memory"],
)
def test_going_back_in_time_is_seen(
    acked: tuple[int, ...], uptime: tuple[int, ...], words: str
) -> None:
    """A guest may only go forward: neither its uptime nor its acknowledged writes may fall."""
    told = [SessionAnswer(0, 0, a, u, 0) for a, u in zip(acked, uptime, strict=True)]

    found = gaps.went_back(told)

    assert words in found
    assert bool(found) is bool(words)


@pytest.mark.parametrize(
    ("resumed_us", "pause_ms"), [(9_000, 7.0), (1_500, -0.5), (None, None)], ids=str
)
def test_pause_between_the_copies(resumed_us: int | None, pause_ms: float | None) -> None:
    """From STOP at the source to RESUME at the destination; negative when both ran at once."""
    events = (HostEvent("a", "STOP", 0, 2_000), HostEvent("b", "RESUME", 0, resumed_us))

    found = Outcome(Plan(), "guest", "a", "b", "", Status.COMPLETED, 1.0, events=events)

    assert found.pause_ms == pause_ms


def test_injected_pause_comes_from_qemu() -> None:
    """A pause is known only when both of its ends are."""
    stop, resume = HostEvent("a", "STOP", 0, 1_000), HostEvent("a", "RESUME", 0, 51_000)

    assert paused_ms([stop, resume]) == 50
    assert paused_ms([stop]) is None


def test_percentile_is_nearest_rank() -> None:
    """Of 20 values, 95 % is the 19th."""
    assert percentile(range(1, 21), 0.95) == 19
    assert percentile([7.0], 0.95) == 7.0
