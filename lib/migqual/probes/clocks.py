"""Measure the difference of the clocks of two hosts, with migqual's payload program."""

import time

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model.run_intervals import ClockDifference
from migqual.probes.probe_context import ProbeContext

MAX_SAMPLES = 20
GOOD_ERROR_NS = 300_000  # a shorter round trip needs no further sample
NS_PER_US = 1000


def measure_clock_difference(
    source: Host, destination: Host, probe_context: ProbeContext
) -> ClockDifference:
    """Measure the clock of the destination minus the clock of the source.

    Both clocks are compared with the clock of the controller. Of up to 20 samples, the one with the
    shortest round trip counts; half of the round trip is the largest possible error.

    Raises:
        HostError: A host does not answer.
    """
    source_offset_ns, source_error_ns = _measure_offset(source, probe_context)
    offset_ns, error_ns = _measure_offset(destination, probe_context)
    return ClockDifference(
        round((offset_ns - source_offset_ns) / NS_PER_US),
        (source_error_ns + error_ns) // NS_PER_US + 1,
    )


def _measure_offset(host: Host, probe_context: ProbeContext) -> tuple[int, int]:
    """Measure the host's clock minus the controller's monotonic clock.

    Returns:
        The difference and its largest possible error (half of the round trip), both in ns.
    """
    best_error_ns, best_offset_ns = None, 0
    with host.shell.start(probe_context.get_payload_path(host), "clock") as process:
        for _ in range(MAX_SAMPLES):
            sent_ns = time.monotonic_ns()
            process.send_line("")
            reply = process.read_first_line()
            received_ns = time.monotonic_ns()
            if not reply.isdecimal():
                raise HostError(
                    host.name,
                    f"cannot read the host's clock with migqual-payload: {reply or 'no reply'}",
                )
            error_ns = (received_ns - sent_ns) // 2 + 1
            if best_error_ns is None or error_ns < best_error_ns:
                best_error_ns, best_offset_ns = error_ns, int(reply) - sent_ns - error_ns
            if best_error_ns <= GOOD_ERROR_NS:
                break
    assert best_error_ns is not None
    return best_offset_ns, best_error_ns
