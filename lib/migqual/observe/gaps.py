"""Pure: from the lines of the gap meter to gaps.

A line of `migqual-payload watch` is one of

    p SEQ SENT_NS RECEIVED_NS                          an answered probe
    s SEQ SENT_NS RECEIVED_NS ACKED UPTIME_MS BAD      an answer of the TCP session
    e session WORDS AT_NS                              the session broke; it stays broken
    r INTERVAL_NS AT_NS                                from then on probes are due so often
    b BOOT_ID                                          who answers
    m LABEL AT_NS                                      a mark that the controller asked for

all on the client's monotonic clock. A silence is the time between two answers that followed each
other, less the interval at which they are asked for: an undisturbed guest's are about nothing.
Where the interval changed between two answers, the longer one counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from migqual.model.outcome import Gap, GapReport
from migqual.observe.pace import NS_PER_MS, PaceChange, find_interval_ns

# A silence counts when it stands out of the undisturbed window, not when it merely tops it.
FLOOR_FACTOR = 1.5


@dataclass(frozen=True)
class SessionAnswer:
    """What the guest said of itself over TCP. `acked`: disk writes acknowledged so far."""

    at_ns: int
    round_trip_ns: int
    acked: int
    uptime_ms: int
    bad: int


@dataclass
class Trace:
    """Everything that the meter said so far; grows while it runs.

    asked: number and time of sending of each probe that was answered
    paces: when the interval of the probes changed, and to what
    """

    answers_ns: list[int] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    session: list[SessionAnswer] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    boot_ids: list[str] = field(default_factory=list)
    paces: list[PaceChange] = field(default_factory=list)
    broken: str = ""
    sent: int = 0

    def take(self, line: str) -> None:
        """Read one line. Raises `ValueError` when it is none of the meter's."""
        words = line.split()
        match words:
            case ["p", sequence, sent, received]:
                self.sent = max(self.sent, int(sequence))
                self.asked.append((int(sequence), int(sent)))
                self.answers_ns.append(int(received))
            case ["s", _sequence, sent, received, acked, uptime, bad]:
                at = int(received)
                self.session.append(
                    SessionAnswer(at, at - int(sent), int(acked), int(uptime), int(bad))
                )
            case ["m", label, at]:
                self.marks[label] = int(at)
            case ["r", interval, at]:
                self.paces.append(PaceChange(int(at), int(interval)))
            case ["b", boot_id]:
                self.boot_ids.append(boot_id)
            case ["e", "session", why, _at]:
                self.broken = why.replace("_", " ")
            case ["end", *_] | []:
                pass
            case _:
                raise ValueError(f"not a line of the gap meter: {line!r}")


def silences(
    answers_ns: Sequence[int], start_ns: int, end_ns: int, paces: Sequence[PaceChange] = ()
) -> list[Gap]:
    """The silence between every two neighbouring answers that reach into [start, end]."""
    inside = [
        (before, after)
        for before, after in pairwise(sorted(answers_ns))
        if after > start_ns and before < end_ns
    ]
    return [
        Gap(before / NS_PER_MS, max(0, after - before - interval) / NS_PER_MS, interval / NS_PER_MS)
        for before, after in inside
        for interval in (find_interval_ns(paces, before, after),)
    ]


def unasked_ms(
    asked: Sequence[tuple[int, int]],
    start_ns: int,
    end_ns: int,
    paces: Sequence[PaceChange] = (),
) -> float:
    """For how long nothing was asked though it was due: the longest by which the probes of [start,
    end] came late. A silence that long would be the client's own, and nobody else's."""
    late = (
        (sent - before) - (number - last) * find_interval_ns(paces, before, sent)
        for (last, before), (number, sent) in pairwise(sorted(asked))
        if sent > start_ns and before < end_ns
    )
    return max(0, *late, 0) / NS_PER_MS


def noise_ms(
    answers_ns: Sequence[int], start_ns: int, end_ns: int, paces: Sequence[PaceChange] = ()
) -> float:
    """The longest silence of an undisturbed window."""
    return longest_ms(silences(answers_ns, start_ns, end_ns, paces))


def longest_ms(silences_seen: Iterable[Gap]) -> float:
    """0 when there is none."""
    return max((gap.length_ms for gap in silences_seen), default=0.0)


def report(trace: Trace, quiet_ns: int, start_ns: int, end_ns: int) -> GapReport:
    """Gaps of [start, end], against the noise of [quiet, start]."""
    noise = noise_ms(trace.answers_ns, quiet_ns, start_ns, trace.paces)
    found = silences(trace.answers_ns, start_ns, end_ns, trace.paces)
    gaps = tuple(gap for gap in found if gap.length_ms > noise * FLOOR_FACTOR)
    inside = [answer for answer in trace.session if start_ns < answer.at_ns]
    stall = max((answer.round_trip_ns for answer in inside), default=0) / NS_PER_MS
    return GapReport(
        noise_ms=noise,
        gaps=gaps,
        sent=trace.sent,
        answered=len(trace.answers_ns),
        window_ms=(end_ns - start_ns) / NS_PER_MS,
        session_alive=not trace.broken and bool(inside),
        session_stall_ms=stall,
    )


def went_back(answers: Iterable[SessionAnswer]) -> str:
    """In words, the first time that the guest took something back: its uptime or the number of
    acknowledged writes fell. Empty when it never did."""
    last: SessionAnswer | None = None
    for answer in answers:
        if last is not None and answer.uptime_ms < last.uptime_ms:
            return f"uptime fell from {last.uptime_ms} to {answer.uptime_ms} ms"
        if last is not None and answer.acked < last.acked:
            return f"acknowledged writes fell from {last.acked} to {answer.acked}"
        last = answer
    return ""
