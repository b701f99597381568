"""Compute gaps from the output lines of the gap meter. No side effects.

The gap meter is the program `migqual-payload watch`. The program writes these lines:

    p SEQ SENT_NS RECEIVED_NS                          a probe with reply
    s SEQ SENT_NS RECEIVED_NS ACKED UPTIME_MS BAD      a reply of the TCP session
    e session WORDS AT_NS                              the session broke; WORDS is the reason
    r INTERVAL_NS AT_NS                                a new probe interval from now on
    b BOOT_ID                                          the boot id of the answering guest
    m LABEL AT_NS                                      a mark requested by the controller

All times are by the client's monotonic clock. A silence is the time between two consecutive
replies, minus the probe interval. Silences of an undisturbed guest are about 0. If the probe
interval changed between the two replies, the longer interval counts. A gap is a silence that is
clearly longer than the longest silence before the migration (the noise).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from migqual.model.outcome import Gap, GapReport
from migqual.observe.probe_interval import NS_PER_MS, ProbeIntervalChange, find_longest_interval_ns

# A gap is a silence longer than this factor times the noise of the baseline window.
FLOOR_FACTOR = 1.5


@dataclass(frozen=True)
class SessionReply:
    """A reply of the guest in the TCP session.

    Attributes:
        at_ns: Time of arrival at the client.
        round_trip_ns: Time from the request to the reply.
        acknowledged_writes: Number of acknowledged disk writes so far.
        uptime_ms: Uptime of the guest.
        bad_pages: Number of memory pages with wrong contents, counted by the guest.
    """

    at_ns: int
    round_trip_ns: int
    acknowledged_writes: int
    uptime_ms: int
    bad_pages: int


@dataclass
class MeterTrace:
    """The parsed output of the gap meter; the trace grows while the meter runs.

    Attributes:
        replies_ns: Arrival time of each reply to a probe.
        probe_times: Sequence number and sending time of each answered probe.
        marks: Time of each mark, by label.
        interval_changes: Time and value of each new probe interval.
        session_error: Reason why the TCP session broke. The reason is empty for a working session.
        probe_count: Number of sent probes, as far as known: the highest sequence number of an
            answered probe.
        repeated_replies: Sequence number of each reply to a probe that already had a reply.
    """

    replies_ns: list[int] = field(default_factory=list)
    probe_times: list[tuple[int, int]] = field(default_factory=list)
    session_replies: list[SessionReply] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    boot_ids: list[str] = field(default_factory=list)
    interval_changes: list[ProbeIntervalChange] = field(default_factory=list)
    session_error: str = ""
    probe_count: int = 0
    repeated_replies: list[int] = field(default_factory=list)
    _answered_probes: set[int] = field(default_factory=set)

    def parse_line(self, line: str) -> None:
        """Parse an output line of the gap meter, and add the data to the trace.

        Args:
            line: The line.

        Raises:
            ValueError: The line is not a line of the gap meter.
        """
        fields = line.split()
        match fields:
            case ["p", sequence, sent_ns, received_ns]:
                if int(sequence) in self._answered_probes:
                    self.repeated_replies.append(int(sequence))
                self._answered_probes.add(int(sequence))
                self.probe_count = max(self.probe_count, int(sequence))
                self.probe_times.append((int(sequence), int(sent_ns)))
                self.replies_ns.append(int(received_ns))
            case ["s", _sequence, sent_ns, received_ns, acknowledged_writes, uptime_ms, bad_pages]:
                time_ns = int(received_ns)
                self.session_replies.append(
                    SessionReply(
                        time_ns,
                        time_ns - int(sent_ns),
                        int(acknowledged_writes),
                        int(uptime_ms),
                        int(bad_pages),
                    )
                )
            case ["m", label, time_ns]:
                self.marks[label] = int(time_ns)
            case ["r", interval_ns, time_ns]:
                self.interval_changes.append(ProbeIntervalChange(int(time_ns), int(interval_ns)))
            case ["b", boot_id]:
                self.boot_ids.append(boot_id)
            case ["e", "session", reason, _at]:
                self.session_error = reason.replace("_", " ")
            case ["end", *_] | []:
                pass
            case _:
                raise ValueError(f"not a line of the gap meter: {line!r}")


def list_silences(
    replies_ns: Sequence[int],
    start_ns: int,
    end_ns: int,
    interval_changes: Sequence[ProbeIntervalChange] = (),
) -> list[Gap]:
    """List the silences that overlap a time window.

    A silence is the time between two consecutive replies, minus the probe interval.

    Args:
        replies_ns: Times of the replies.
        start_ns: Start of the window.
        end_ns: End of the window.
        interval_changes: Changes of the probe interval. Without changes, the interval is
            `ProbeInterval.FINE`.

    Returns:
        The silences as gaps, with lengths and resolutions in ms.
    """
    reply_pairs = [
        (earlier_ns, later_ns)
        for earlier_ns, later_ns in pairwise(sorted(replies_ns))
        if later_ns > start_ns and earlier_ns < end_ns
    ]
    return [
        Gap(
            before / NS_PER_MS,
            max(0, after - before - interval_ns) / NS_PER_MS,
            interval_ns / NS_PER_MS,
        )
        for before, after in reply_pairs
        for interval_ns in (find_longest_interval_ns(interval_changes, before, after),)
    ]


def measure_probe_delay_ms(
    probe_times: Sequence[tuple[int, int]],
    start_ns: int,
    end_ns: int,
    interval_changes: Sequence[ProbeIntervalChange] = (),
) -> float:
    """Measure the largest delay of a probe within a time window.

    A probe is delayed if the client sends the probe more than one probe interval after the
    previous probe. The delay alone causes a silence of the same length. Only a longer silence
    shows an interruption of the guest.

    Args:
        probe_times: Sequence number and sending time of each answered probe.
        start_ns: Start of the window.
        end_ns: End of the window.
        interval_changes: Changes of the probe interval. Without changes, the interval is
            `ProbeInterval.FINE`.

    Returns:
        The largest delay in ms, or 0 if no probe was delayed.
    """
    delays_ns = (
        (sent_ns - previous_ns)
        - (number - previous_number)
        * find_longest_interval_ns(interval_changes, previous_ns, sent_ns)
        for (previous_number, previous_ns), (number, sent_ns) in pairwise(sorted(probe_times))
        if sent_ns > start_ns and previous_ns < end_ns
    )
    return max(0, *delays_ns, 0) / NS_PER_MS


def measure_noise_ms(
    replies_ns: Sequence[int],
    start_ns: int,
    end_ns: int,
    interval_changes: Sequence[ProbeIntervalChange] = (),
) -> float:
    """Return the noise in ms, which is the longest silence in a window without a migration."""
    return find_longest_ms(list_silences(replies_ns, start_ns, end_ns, interval_changes))


def find_longest_ms(silences: Iterable[Gap]) -> float:
    """Return the length of the longest silence in ms, or 0 if no silence exists."""
    return max((gap.length_ms for gap in silences), default=0.0)


def build_gap_report(trace: MeterTrace, baseline_ns: int, start_ns: int, end_ns: int) -> GapReport:
    """Build the report of the gaps during a migration.

    The noise is the longest silence in the baseline window, which ends when the migration starts.

    Args:
        trace: The output of the gap meter.
        baseline_ns: Start of the baseline window.
        start_ns: Start of the migration.
        end_ns: End of the migration.

    Returns:
        The report. Only a silence longer than 1.5 times the noise is a gap.
    """
    noise_ms = measure_noise_ms(trace.replies_ns, baseline_ns, start_ns, trace.interval_changes)
    silences = list_silences(trace.replies_ns, start_ns, end_ns, trace.interval_changes)
    gaps = tuple(gap for gap in silences if gap.length_ms > noise_ms * FLOOR_FACTOR)
    session_replies = [reply for reply in trace.session_replies if start_ns < reply.at_ns]
    stall_ms = max((answer.round_trip_ns for answer in session_replies), default=0) / NS_PER_MS
    return GapReport(
        noise_ms=noise_ms,
        gaps=gaps,
        probes_sent=trace.probe_count,
        probes_answered=len(trace.replies_ns),
        window_ms=(end_ns - start_ns) / NS_PER_MS,
        session_alive=not trace.session_error and bool(session_replies),
        session_stall_ms=stall_ms,
    )


def find_rollback(replies: Iterable[SessionReply]) -> str:
    """Find the first reply that shows an earlier state of the guest than the previous reply.

    In such a reply, the uptime or the number of acknowledged writes is smaller than before.

    Args:
        replies: The replies in the TCP session, in order.

    Returns:
        A message with the two values, or an empty text if no value fell.
    """
    previous: SessionReply | None = None
    for reply in replies:
        if previous is not None and reply.uptime_ms < previous.uptime_ms:
            return f"the uptime fell from {previous.uptime_ms} ms to {reply.uptime_ms} ms"
        if previous is not None and reply.acknowledged_writes < previous.acknowledged_writes:
            return (
                f"the number of acknowledged writes fell from {previous.acknowledged_writes} "
                f"to {reply.acknowledged_writes}"
            )
        previous = reply
    return ""
