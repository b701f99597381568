"""Gaps from the meter's lines; calibration; split brain; all pure."""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.outcome import HostEvent, Outcome, Status
from migqual.model.plan import Plan
from migqual.observe import gaps
from migqual.observe.answers import Answers, interface
from migqual.observe.calibration import Held, held_in, percentile, silent_ms
from migqual.observe.gaps import SessionAnswer, Trace
from migqual.observe.meter import session_patience_s

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

    held = held_in([stop, resume])

    assert held is not None
    assert held.length_ms == 50
    assert held_in([stop]) is None


def test_a_client_that_did_not_ask_is_found_out() -> None:
    """Probes that were lost were sent nevertheless; a pause in the sending shows."""
    lost = [(1, 0), (2, 2 * MS), (52, 102 * MS)]
    late = [(1, 0), (2, 2 * MS), (3, 52 * MS), (4, 54 * MS)]

    assert gaps.unasked_ms(lost, 0, 200 * MS) == 0
    assert gaps.unasked_ms(late, 0, 200 * MS) == 48
    assert gaps.unasked_ms(late, 53 * MS, 200 * MS) == 0
    assert gaps.unasked_ms([], 0, 200 * MS) == 0


def test_the_hosts_silence_is_the_one_around_the_pause() -> None:
    """What the guest takes to wake up belongs to its silence; another silence does not."""
    at_us = [0, 2_000, 200_000, 202_000, 257_000, 259_000]

    assert silent_ms(at_us, Held(203_000, 253_000)) == 53


def test_a_host_that_saw_answers_of_a_held_guest_is_blind() -> None:
    """It cannot be a witness, whatever the meter says."""
    at_us = list(range(0, 100_000, 2_000))

    with pytest.raises(InconclusiveError, match="held for 50"):
        silent_ms(at_us, Held(20_000, 70_000))


@pytest.mark.parametrize(
    "lines",
    [["a 1", "a 2"], ["a 1", "end 2 0"], ["a 1", "end 1 3"], ["what", "end 0 0"], []],
    ids=["broken off", "fewer", "overlooked", "strange", "nothing"],
)
def test_answers_that_were_not_all_seen_are_no_evidence(lines: list[str]) -> None:
    """A silence may be an answer that was overlooked."""
    with pytest.raises(InconclusiveError):
        Answers().take(lines)


def test_answers_are_taken_to_their_end() -> None:
    """Each has its time."""
    seen = Answers()

    seen.take(["a 5\n", "a 7\n", "end 2 0\n"])

    assert seen.at_us == [5, 7]


def test_the_interface_is_found_by_its_address() -> None:
    """Guests may have several."""
    xml = (
        "<domain><devices>"
        "<interface><mac address='02:0'/><target dev='vnet7'/></interface>"
        "<interface><mac address='02:1'/><target dev='vnet8'/></interface>"
        "</devices></domain>"
    )

    assert interface(xml, "02:1") == "vnet8"
    with pytest.raises(InconclusiveError, match="02:2"):
        interface(xml, "02:2")


def test_percentile_is_nearest_rank() -> None:
    """Of 20 values, 95 % is the 19th."""
    assert percentile(range(1, 21), 0.95) == 19
    assert percentile([7.0], 0.95) == 7.0


@pytest.mark.parametrize(
    ("last_s", "at_s", "patience_s"),
    [(99.9, 100, 20.1), (40, 100, 80), (101, 100, 20)],
    ids=["undisturbed", "silent for a minute", "heard meanwhile"],
)
def test_a_session_gets_as_long_again_as_it_was_silent(
    last_s: float, at_s: float, patience_s: float
) -> None:
    """TCP's next try is as far away as its last ones took together."""
    found = session_patience_s(int(last_s * 1e9), int(at_s * 1e9))

    assert found == pytest.approx(patience_s)
