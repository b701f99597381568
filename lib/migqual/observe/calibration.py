"""How true the gap meter is: the guest is suspended for known times, and the meter asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.model.outcome import HostEvent
from migqual.observe import gaps
from migqual.observe.event_log import following
from migqual.observe.meter import GapMeter

PAUSES_MS = (50, 200, 500)


@dataclass(frozen=True)
class Pause:
    """One known pause. `injected_ms` by QEMU's own clock, from its STOP to its RESUME; `other_ms`
    the longest silence around it that nobody caused: what the machine itself adds."""

    injected_ms: float
    measured_ms: float
    other_ms: float = 0.0

    @property
    def error_ms(self) -> float:
        return self.measured_ms - self.injected_ms


def calibrate(guest: Guest, meter: GapMeter, *, rounds: int = 7) -> tuple[Pause, ...]:
    """Suspend the guest `rounds` times for each of 50, 200 and 500 ms; and what was seen."""
    return tuple(_pause(guest, meter, length) for _ in range(rounds) for length in PAUSES_MS)


def _pause(guest: Guest, meter: GapMeter, length_ms: int) -> Pause:
    domain = guest.domain
    with following(guest.name, (guest.host,)) as log:
        start = meter.mark()
        meter.answer_after(start)
        domain.suspend()
        Deadline(60.0).pause(length_ms / 1000)
        domain.resume()
        end = meter.mark()
        meter.answer_after(end)
        injected = Deadline(5.0).wait_for("STOP and RESUME of QEMU", lambda: paused_ms(log.events))
    seen = gaps.silences(meter.trace.answers_ns, start, end)
    longest = sorted((gap.length_ms for gap in seen), reverse=True)
    return Pause(injected, *(*longest, 0.0, 0.0)[:2])


def paused_ms(events: Sequence[HostEvent]) -> float | None:
    """Pure: from QEMU's STOP to its RESUME, ms; None while one of them is not there."""
    stop = next((e.host_us for e in events if e.name == "STOP" and e.host_us), None)
    resume = next((e.host_us for e in events if e.name == "RESUME" and e.host_us), None)
    return (resume - stop) / 1000 if stop and resume else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
