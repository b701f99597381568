"""Compute gaps, calibration and rollbacks from lines of the gap meter, without hosts.

The gap meter is the program on the client that sends probes to a guest and records the replies.
"""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.guest_event import GuestEvent
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.percentile import compute_percentile
from migqual.model.plan import Plan
from migqual.observe import gaps
from migqual.observe.echo_replies import EchoReplies, find_host_interface
from migqual.observe.gap_meter import compute_session_timeout_s
from migqual.observe.gap_meter_calibration import (
    SuspendInterval,
    find_suspend_interval,
    measure_host_silence_ms,
)
from migqual.observe.gaps import MeterTrace, SessionReply

pytestmark = pytest.mark.selftest

MS = 1_000_000


def make_reply_times_ns(*silences_ms: int) -> list[int]:
    """Return reply times (ns) with the given silences (ms) in between."""
    times_ns = [1_000 * MS]
    for silence_ms in silences_ms:
        times_ns.append(times_ns[-1] + silence_ms * MS)
    return times_ns


def parse_trace(*lines: str) -> MeterTrace:
    meter_trace = MeterTrace()
    for line in lines:
        meter_trace.parse_line(line)
    return meter_trace


def test_two_interruptions_are_two_gaps() -> None:
    """Two silences with a reply in between are two gaps, not a single long gap."""
    times_ns = make_reply_times_ns(2, 2, 52, 2, 72, 2)

    silences = gaps.list_silences(times_ns, times_ns[1], times_ns[-1])

    assert [gap.length_ms for gap in silences if gap.length_ms] == [50, 70]


def test_a_gap_that_begins_in_the_window_counts() -> None:
    """`list_silences` lists a silence that begins in the time window and ends after the window.

    A silence before the window is not listed.
    """
    times_ns = make_reply_times_ns(102, 2, 2, 52)

    silences = gaps.list_silences(times_ns, times_ns[2], times_ns[3] + 10 * MS)

    assert [gap.length_ms for gap in silences if gap.length_ms] == [50]


def test_noise_of_the_baseline_window_is_no_gap() -> None:
    """A silence is not a gap of the migration if the baseline window has an equally long silence.

    The baseline window is the time just before the migration.
    """
    baseline_times_ns = make_reply_times_ns(2, 9, 2)
    times_ns = [
        *baseline_times_ns,
        *(baseline_times_ns[-1] + offset_ms * MS for offset_ms in (2, 11, 13, 73)),
    ]
    gap_report = gaps.build_gap_report(
        MeterTrace(replies_ns=times_ns), baseline_times_ns[0], baseline_times_ns[-1], times_ns[-1]
    )

    assert gap_report.noise_ms == 7
    assert [gap.length_ms for gap in gap_report.gaps] == [58]
    assert (gap_report.max_ms, gap_report.sum_ms) == (58, 58)


def test_gap_meter_lines_are_parsed() -> None:
    """The trace contains the data of each kind of line that the gap meter writes.

    A line begins with `b` (boot id of the guest), `p` (a probe with its reply), `s` (a reply of
    the guest in the TCP session) or `m` (the time of a mark that the controller requested).
    """
    meter_trace = parse_trace(
        "b boot-1", "p 1 1000 2000", "s 1 1000 4000 7 500 0", "m m0 9000", "end 1 1"
    )

    assert meter_trace.replies_ns == [2000]
    assert meter_trace.session_replies == [SessionReply(4000, 3000, 7, 500, 0)]
    assert (meter_trace.marks, meter_trace.boot_ids, meter_trace.session_error) == (
        {"m0": 9000},
        ["boot-1"],
        "",
    )


def test_session_error_is_kept() -> None:
    """The trace contains the reason why the TCP session between client and guest broke."""
    assert parse_trace("e session Connection_reset 5").session_error == "Connection reset"


@pytest.mark.parametrize("line", ["p 1 2", "x", "p one two three", "s 1 2 3"])
def test_unknown_gap_meter_lines_are_errors(line: str) -> None:
    """A line never written by the gap meter is an error, not a measurement of zero."""
    with pytest.raises(ValueError, match=r"meter|invalid literal"):
        MeterTrace().parse_line(line)


@pytest.mark.parametrize(
    ("acknowledged_writes", "uptimes_ms", "expected_text"),
    [((5, 6, 6), (1, 2, 3), ""), ((5, 4), (1, 2), "writes fell"), ((5, 6), (9, 2), "uptime fell")],
    ids=["forward", "writes-lost", "older-memory"],
)
def test_guest_rollback_is_detected(
    acknowledged_writes: tuple[int, ...], uptimes_ms: tuple[int, ...], expected_text: str
) -> None:
    """Neither the uptime of a guest nor the number of acknowledged writes may fall."""
    replies = [
        SessionReply(0, 0, writes, uptime_ms, 0)
        for writes, uptime_ms in zip(acknowledged_writes, uptimes_ms, strict=True)
    ]

    rollback = gaps.find_rollback(replies)

    assert expected_text in rollback
    assert bool(rollback) is bool(expected_text)


def test_second_reply_to_a_probe_is_kept() -> None:
    """If a probe gets a second reply, the trace lists the sequence number of the probe.

    A second reply is evidence of two copies of the guest: each copy sent one reply.
    """
    trace = MeterTrace()
    for line in ("p 1 10 20", "p 2 30 40", "p 2 30 45", "p 3 50 60"):
        trace.parse_line(line)

    assert trace.repeated_replies == [2]


@pytest.mark.parametrize(
    ("resumed_us", "pause_ms"), [(9_000, 7.0), (1_500, -0.5), (None, None)], ids=str
)
def test_pause_between_stop_and_resume(resumed_us: int | None, pause_ms: float | None) -> None:
    """The pause lasts from STOP at the source to RESUME at the destination.

    If RESUME comes before STOP, the pause is negative: the guest at the source and its copy at
    the destination ran at the same time. If the time of RESUME is unknown, the pause is None.
    """
    events = (GuestEvent("a", "STOP", 0, 2_000), GuestEvent("b", "RESUME", 0, resumed_us))

    outcome = Outcome(Plan(), "guest", "a", "b", "", MigrationStatus.COMPLETED, 1.0, events=events)

    assert outcome.pause_ms == pause_ms


def test_suspend_interval_needs_stop_and_resume() -> None:
    """A pause is known only if both events, STOP and RESUME, are known."""
    stop, resume = GuestEvent("a", "STOP", 0, 1_000), GuestEvent("a", "RESUME", 0, 51_000)

    suspend_interval = find_suspend_interval([stop, resume])

    assert suspend_interval is not None
    assert suspend_interval.length_ms == 50
    assert find_suspend_interval([stop]) is None


def test_late_probes_of_the_client_are_measured() -> None:
    """A probe that the client sends too late has a delay; a probe without a reply has no delay.

    The probe interval is 2 ms. Examples:

    - The client sends probe 3 not 2 ms but 50 ms after probe 2: the delay is 48 ms.
    - The client sends all probes in time, and probes 3 to 51 get no reply: the delay is 0.
    """
    lost_probe_times = [(1, 0), (2, 2 * MS), (52, 102 * MS)]
    late_probe_times = [(1, 0), (2, 2 * MS), (3, 52 * MS), (4, 54 * MS)]

    assert gaps.measure_probe_delay_ms(lost_probe_times, 0, 200 * MS) == 0
    assert gaps.measure_probe_delay_ms(late_probe_times, 0, 200 * MS) == 48
    assert gaps.measure_probe_delay_ms(late_probe_times, 53 * MS, 200 * MS) == 0
    assert gaps.measure_probe_delay_ms([], 0, 200 * MS) == 0


def test_host_silence_is_measured_around_the_pause() -> None:
    """The silence around a pause of the guest lasts until the first reply after the pause.

    The last reply before the pause and the first reply after the pause are 55 ms apart. The
    silence is 55 ms minus the probe interval of 2 ms. A silence before the pause does not count.
    """
    times_us = [0, 2_000, 200_000, 202_000, 257_000, 259_000]

    assert measure_host_silence_ms(times_us, SuspendInterval(203_000, 253_000)) == 53


def test_replies_of_a_suspended_guest_are_inconclusive() -> None:
    """If the capture on the host shows replies of a suspended guest, calibration is inconclusive.

    A suspended guest cannot reply, so such a capture is wrong.
    """
    times_us = list(range(0, 100_000, 2_000))

    with pytest.raises(InconclusiveError, match="suspended the guest for 50"):
        measure_host_silence_ms(times_us, SuspendInterval(20_000, 70_000))


@pytest.mark.parametrize(
    "lines",
    [["a 1", "a 2"], ["a 1", "end 2 0"], ["a 1", "end 1 3"], ["what", "end 0 0"], []],
    ids=["interrupted", "wrong count", "dropped packets", "unknown line", "empty"],
)
def test_incomplete_echo_replies_are_inconclusive(lines: list[str]) -> None:
    """If the list of captured echo replies may be incomplete, the result is inconclusive.

    A reply that is missing in the list would count as a silence of the guest.
    """
    with pytest.raises(InconclusiveError):
        EchoReplies().parse_lines(lines)


def test_echo_reply_times_are_parsed() -> None:
    """Every echo reply has a time in µs."""
    replies = EchoReplies()

    replies.parse_lines(["a 5\n", "a 7\n", "end 2 0\n"])

    assert replies.times_us == [5, 7]


def test_host_interface_is_found_by_mac_address() -> None:
    """A guest may have several interfaces; the MAC address selects the interface."""
    xml = (
        "<domain><devices>"
        "<interface><mac address='02:0'/><target dev='vnet7'/></interface>"
        "<interface><mac address='02:1'/><target dev='vnet8'/></interface>"
        "</devices></domain>"
    )

    assert find_host_interface(xml, "02:1") == "vnet8"
    with pytest.raises(InconclusiveError, match="02:2"):
        find_host_interface(xml, "02:2")


def test_percentile_is_nearest_rank() -> None:
    """The 95th percentile of 20 values is the 19th value."""
    assert compute_percentile(range(1, 21), 0.95) == 19
    assert compute_percentile([7.0], 0.95) == 7.0


@pytest.mark.parametrize(
    ("last_reply_s", "after_s", "timeout_s"),
    [(99.9, 100, 20.1), (40, 100, 80), (101, 100, 20)],
    ids=["undisturbed", "silent for a minute", "replied meanwhile"],
)
def test_session_timeout_grows_with_the_silence(
    last_reply_s: float, after_s: float, timeout_s: float
) -> None:
    """The longer the guest was silent, the longer the client waits for a reply in the TCP session.

    The timeout is 20 s plus the time from the guest's last reply to the start of the wait. TCP
    doubles its retransmission timeout with each retry. So after 60 s without a reply, the next
    retry may be up to 60 s later. The reply follows this retry.
    """
    computed_timeout_s = compute_session_timeout_s(int(last_reply_s * 1e9), int(after_s * 1e9))

    assert computed_timeout_s == pytest.approx(timeout_s)
