"""The gap meter: a program on the client that asks the guest all the time."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TypeVar

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.host import Host
from migqual.hosts.placement import SESSION_PORT
from migqual.hosts.shell import Process
from migqual.observe.gaps import Trace
from migqual.observe.pace import Pace

T = TypeVar("T")

MARK_SECONDS = 10.0
ANSWER_SECONDS = 20.0
NS_PER_S = 1_000_000_000


class GapMeter:
    """Watches one guest from the client for as long as the guest lives."""

    def __init__(self, client: str, process: Process) -> None:
        self._client = client
        self._process = process
        self.trace = Trace()
        self._pace = Pace.REST
        self._changed = threading.Condition()
        self._trouble = ""
        self._numbers = itertools.count()
        threading.Thread(target=self._read, name="gap-meter", daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._process:
                with self._changed:
                    self.trace.take(line)
                    self._changed.notify_all()
        except ValueError as error:
            self._trouble = str(error)
        with self._changed:
            self._trouble = self._trouble or "the gap meter ended"
            self._changed.notify_all()

    @property
    def pace(self) -> Pace:
        """How often the client probes now."""
        return self._pace

    def set_pace(self, pace: Pace) -> None:
        """Probe so often from now on. The trace tells from when."""
        if pace is not self._pace:
            self._pace = pace
            self._process.send(pace.order)

    @contextmanager
    def probe_at(self, pace: Pace) -> Iterator[None]:
        """Probe at `pace` while the block runs, then at the pace of before."""
        before = self._pace
        self.set_pace(pace)
        try:
            yield
        finally:
            self.set_pace(before)

    def mark(self) -> int:
        """The client's clock now, ns. Everything the meter saw before is in `trace` then."""
        label = f"m{next(self._numbers)}"
        self._process.send(f"mark {label}")
        return self._until(
            "a mark of the gap meter", lambda: self.trace.marks.get(label), MARK_SECONDS
        )

    def answer_after(self, at_ns: int, seconds: float = ANSWER_SECONDS) -> int:
        """Wait for the first answer later than `at_ns`; its time. Raises `TimedOut`."""

        def later() -> int | None:
            last = self.trace.answers_ns[-1] if self.trace.answers_ns else 0
            return last if last > at_ns else None

        return self._until("an answer of the guest on the service network", later, seconds)

    def session_after(self, at_ns: int) -> bool:
        """Whether the TCP session answers after `at_ns`; False when it broke. Raises `TimedOut`."""

        def last_ns() -> int:
            return self.trace.session[-1].at_ns if self.trace.session else 0

        def later() -> str | None:
            if self.trace.broken:
                return "broken"
            return "alive" if last_ns() > at_ns else None

        with self._changed:
            patience_s = session_patience_s(last_ns() or at_ns, at_ns)
        return self._until("the TCP session with the guest", later, patience_s) == "alive"

    def _until(self, what: str, probe: Callable[[], T | None], seconds: float) -> T:
        deadline = Deadline(seconds)
        with self._changed:
            while (found := probe()) is None:
                if self._trouble:
                    raise HostError(self._client, f"{what}: {self._trouble}")
                if deadline.passed:
                    raise TimedOut(f"{what}: not within {seconds:g} s")
                self._changed.wait(deadline.left)
        return found


def session_patience_s(last_ns: int, at_ns: int) -> float:
    """Pure: how long a session that was last heard at `last_ns` may take to be heard after `at_ns`.
    TCP waits twice as long with each try (RFC 6298, 5.5): who was not answered for a time may try
    again after as long once more."""
    return ANSWER_SECONDS + max(0.0, (at_ns - last_ns) / NS_PER_S)


@contextmanager
def watching(client: Host, payload: PurePosixPath, address: str) -> Iterator[GapMeter]:
    """Run the meter on `client` against the guest at `address` while the block runs."""
    probes_ms, session_ms = Pace.REST.value
    argv = (
        *(str(payload), "watch", "--address", address, "--port", str(SESSION_PORT)),
        *("--interval-us", str(probes_ms * 1000), "--session-interval-ms", str(session_ms)),
    )
    # an earlier guest of ours may have had the address: its MAC would be asked for seconds yet
    client.shell.attempt("ip", "neigh", "flush", "to", address)
    with client.shell.start(*argv) as process:
        meter = GapMeter(client.name, process)
        yield meter
        process.send("stop")
