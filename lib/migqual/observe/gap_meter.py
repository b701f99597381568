"""Control the gap meter: a program on the client that sends probes to a guest."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TypeVar

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.domain_template import GAP_METER_PORT
from migqual.hosts.host import Host
from migqual.hosts.remote_process import RemoteProcess
from migqual.observe.gaps import MeterTrace
from migqual.observe.probe_interval import ProbeInterval

T = TypeVar("T")

MARK_TIMEOUT_SECONDS = 10.0
REPLY_TIMEOUT_SECONDS = 20.0
NS_PER_S = 1_000_000_000


class GapMeter:
    """The running gap meter, a program that sends probes from the client to one guest."""

    def __init__(self, client_name: str, process: RemoteProcess) -> None:
        self._client_name = client_name
        self._process = process
        self.trace = MeterTrace()
        self._probe_interval = ProbeInterval.IDLE
        self._trace_condition = threading.Condition()
        self._failure = ""
        self._mark_numbers = itertools.count()
        threading.Thread(target=self._read_lines, name="gap-meter", daemon=True).start()

    def _read_lines(self) -> None:
        try:
            for line in self._process:
                with self._trace_condition:
                    self.trace.parse_line(line)
                    self._trace_condition.notify_all()
        except ValueError as error:
            self._failure = str(error)
        with self._trace_condition:
            self._failure = self._failure or "the gap meter ended"
            self._trace_condition.notify_all()

    @property
    def probe_interval(self) -> ProbeInterval:
        """Return the current probe interval."""
        return self._probe_interval

    def set_probe_interval(self, interval: ProbeInterval) -> None:
        """Set the probe interval. `trace` records the time of the change."""
        if interval is not self._probe_interval:
            self._probe_interval = interval
            self._process.send_line(interval.meter_command)

    @contextmanager
    def probe_at(self, interval: ProbeInterval) -> Iterator[None]:
        """Use the given probe interval during the `with` block, then the previous interval."""
        previous_interval = self._probe_interval
        self.set_probe_interval(interval)
        try:
            yield
        finally:
            self.set_probe_interval(previous_interval)

    def mark_time_ns(self) -> int:
        """Request a time mark from the gap meter, the program that sends probes to the guest.

        A time mark is an output line of the gap meter with the current time. When the function
        returns, `trace` contains all lines that the gap meter wrote before the time mark.

        Returns:
            The time of the mark in ns by the client's clock.

        Raises:
            TimedOut: The gap meter did not write the time mark within 10 s.
            HostError: The gap meter has ended.
        """
        label = f"m{next(self._mark_numbers)}"
        self._process.send_line(f"mark {label}")
        return self._wait_until(
            "the gap meter did not send a time mark",
            lambda: self.trace.marks.get(label),
            MARK_TIMEOUT_SECONDS,
        )

    def wait_for_reply(self, after_ns: int, seconds: float = REPLY_TIMEOUT_SECONDS) -> int:
        """Wait until a reply of the guest arrives later than `after_ns`.

        Args:
            after_ns: Time in ns by the client's clock.
            seconds: Maximum waiting time in s.

        Returns:
            The time of the reply in ns by the client's clock.

        Raises:
            TimedOut: No reply arrived in time.
            HostError: The meter has ended.
        """

        def find_later_reply() -> int | None:
            last_ns = self.trace.replies_ns[-1] if self.trace.replies_ns else 0
            return last_ns if last_ns > after_ns else None

        return self._wait_until(
            "the guest did not answer on the service network", find_later_reply, seconds
        )

    def wait_for_session(self, after_ns: int) -> bool:
        """Wait until a reply of the guest's TCP session arrives later than `after_ns`.

        Args:
            after_ns: Time in ns by the client's clock.

        Returns:
            True if a reply arrived, False if the session broke.

        Raises:
            TimedOut: No reply arrived in time.
            HostError: The meter has ended.
        """

        def get_last_reply_ns() -> int:
            return self.trace.session_replies[-1].at_ns if self.trace.session_replies else 0

        def check_session() -> str | None:
            if self.trace.session_error:
                return "broken"
            return "alive" if get_last_reply_ns() > after_ns else None

        with self._trace_condition:
            timeout_s = compute_session_timeout_s(get_last_reply_ns() or after_ns, after_ns)
        return (
            self._wait_until(
                "the guest did not answer in the TCP session", check_session, timeout_s
            )
            == "alive"
        )

    def _wait_until(self, failure: str, probe: Callable[[], T | None], seconds: float) -> T:
        deadline = Deadline(seconds)
        with self._trace_condition:
            while (result := probe()) is None:
                if self._failure:
                    raise HostError(self._client_name, f"{failure}: {self._failure}")
                if deadline.is_over:
                    raise TimedOut(f"{self._client_name}: {failure} within {seconds:g} s")
                self._trace_condition.wait(deadline.seconds_left)
        return result


def compute_session_timeout_s(last_reply_ns: int, after_ns: int) -> float:
    """Compute how many seconds to wait for a reply of the TCP session after `after_ns`.

    TCP doubles the retransmission timeout with each retry (RFC 6298, 5.5). After a silence of
    N s, the next retry may take another N s.

    Args:
        last_reply_ns: Time of the last reply, in ns by the client's clock.
        after_ns: Start of the wait, in ns by the client's clock.

    Returns:
        The timeout in s: 20 s plus the length of the silence before `after_ns`.
    """
    return REPLY_TIMEOUT_SECONDS + max(0.0, (after_ns - last_reply_ns) / NS_PER_S)


@contextmanager
def run_gap_meter(client: Host, payload: PurePosixPath, address: str) -> Iterator[GapMeter]:
    """Run the gap meter on the client during the `with` block.

    The gap meter sends probes to a guest and records the replies. A long time without a reply is
    a gap.

    Args:
        client: The host on which the gap meter runs.
        payload: Path of migqual-payload on the client.
        address: IP address of the guest on the service network.
    """
    probe_ms, session_ms = ProbeInterval.IDLE.value
    argv = (
        *(str(payload), "watch", "--address", address, "--port", str(GAP_METER_PORT)),
        *("--interval-us", str(probe_ms * 1000), "--session-interval-ms", str(session_ms)),
    )
    # An earlier guest may have had the address. Without the flush, the client sends probes to the
    # MAC address of the earlier guest for seconds.
    client.shell.run_unchecked("ip", "neigh", "flush", "to", address)
    with client.shell.start(*argv) as process:
        meter = GapMeter(client.name, process)
        yield meter
        process.send_line("stop")
