"""Events of one guest on all hosts concerned, on the controller's clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from migqual.hosts.host import Host
from migqual.model.outcome import HostEvent


class EventLog:
    """Filled by libvirt's event thread, read by ours."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._events: list[HostEvent] = []
        self._lock = threading.Lock()
        self.memory_sent = threading.Event()

    def add(self, host: str, name: str, detail: str, at: float, host_us: int | None) -> None:
        with self._lock:
            self._events.append(HostEvent(host, name, at - self.started, host_us, detail))
        if name == "MIGRATION" and '"completed"' in detail:
            self.memory_sent.set()

    @property
    def events(self) -> tuple[HostEvent, ...]:
        with self._lock:
            return tuple(self._events)


@contextmanager
def following(guest: str, hosts: tuple[Host, ...]) -> Iterator[EventLog]:
    """Collect the events of the guest called `guest` on each of `hosts` while the block runs."""
    log = EventLog()
    with ExitStack() as stack:
        for host in hosts:

            def sink(
                name: str, detail: str, at: float, host_us: int | None, host_name: str = host.name
            ) -> None:
                log.add(host_name, name, detail, at, host_us)

            stack.callback(host.libvirt.watch(guest, sink))
        yield log
