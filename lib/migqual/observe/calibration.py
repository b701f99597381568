"""How true the gap meter is: the guest is suspended for known times, and the meter asked.

Two witnesses stand beside the meter. QEMU's own clock says from when to when the guest was held;
its host's kernel says when answers left the guest, which takes until the guest has woken up. What
the meter adds to the second is the meter's error; what the guest adds to the first is its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.model.outcome import HostEvent
from migqual.observe import gaps
from migqual.observe.answers import leaving
from migqual.observe.event_log import following
from migqual.observe.meter import GapMeter
from migqual.observe.pace import NS_PER_MS, Pace

PAUSES_MS = (50, 200, 500)
NS_PER_US = 1000


@dataclass(frozen=True)
class Pause:
    """One known pause, ms.

    injected_ms  by QEMU's own clock, from its STOP to its RESUME
    silent_ms    no answer left the guest, as its host's kernel saw it
    measured_ms  what the meter says
    other_ms     the longest silence around it that nobody caused: what the machine itself adds
    unasked_ms   the longest time meanwhile for which the meter owed a question
    """

    injected_ms: float
    silent_ms: float
    measured_ms: float
    other_ms: float = 0.0
    unasked_ms: float = 0.0

    @property
    def error_ms(self) -> float:
        """The meter's, never negative: it saw the silence end early or late, or did not ask."""
        return max(abs(self.measured_ms - self.silent_ms), self.unasked_ms)

    @property
    def behind_qemu_ms(self) -> float:
        """What is seen beyond the time for which QEMU held the guest."""
        return self.measured_ms - self.injected_ms


@dataclass(frozen=True)
class Held:
    """When QEMU held the guest, µs of its host's wall clock."""

    stop_us: int
    resume_us: int

    @property
    def length_ms(self) -> float:
        return (self.resume_us - self.stop_us) / 1000


def calibrate(
    guest: Guest, meter: GapMeter, payload: PurePosixPath | str, *, rounds: int = 7
) -> tuple[Pause, ...]:
    """Suspend the guest `rounds` times for each of 50, 200 and 500 ms; and what was seen.

    payload: where migqual-payload is on the guest's host. Raises `InconclusiveError` where the
    host did not see the guest fall silent while QEMU held it.
    """
    lengths = [length for _ in range(rounds) for length in PAUSES_MS]
    with meter.probe_at(Pace.FINE), leaving(guest, payload) as answers:
        seen = [_pause(guest, meter, length) for length in lengths]
    return tuple(
        Pause(held.length_ms, silent_ms(answers.at_us, held), *by_meter) for held, by_meter in seen
    )


def _pause(
    guest: Guest, meter: GapMeter, length_ms: int
) -> tuple[Held, tuple[float, float, float]]:
    domain = guest.domain
    with following(guest.name, (guest.host,)) as log:
        start = meter.mark()
        meter.answer_after(start)
        domain.suspend()
        Deadline(60.0).pause(length_ms / 1000)
        domain.resume()
        end = meter.mark()
        meter.answer_after(end)
        held = Deadline(5.0).wait_for("STOP and RESUME of QEMU", lambda: held_in(log.events))
    trace = meter.trace
    seen = gaps.silences(trace.answers_ns, start, end, trace.paces)
    longest, other, *_ = *sorted((gap.length_ms for gap in seen), reverse=True), 0.0, 0.0
    return held, (longest, other, gaps.unasked_ms(trace.asked, start, end, trace.paces))


def held_in(events: Sequence[HostEvent]) -> Held | None:
    """Pure: from QEMU's STOP to its RESUME; None while one of them is not there."""
    stop = next((e.host_us for e in events if e.name == "STOP" and e.host_us), None)
    resume = next((e.host_us for e in events if e.name == "RESUME" and e.host_us), None)
    return Held(stop, resume) if stop and resume else None


def silent_ms(answers_us: Sequence[int], held: Held) -> float:
    """Pure: the silence around the time for which QEMU held the guest. Raises `InconclusiveError`
    where there is none that long: then the witness is blind."""
    times = [at * NS_PER_US for at in answers_us]
    seen = gaps.silences(times, held.stop_us * NS_PER_US, held.resume_us * NS_PER_US)
    longest = gaps.longest_ms(seen)  # 0 where nothing was seen at all
    if longest < held.length_ms - Pace.FINE.interval_ns / NS_PER_MS:
        raise InconclusiveError(
            f"held for {held.length_ms:.1f} ms, and its host saw it silent for {longest:.1f} ms"
        )
    return longest


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
