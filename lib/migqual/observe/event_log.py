"""Events of a single guest on all hosts of a migration, by the controller's clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from migqual.hosts.host import Host
from migqual.model.outcome import GuestEvent


class EventLog:
    """Events of a guest, written by libvirt's event thread and read by other threads."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self._events: list[GuestEvent] = []
        self._lock = threading.Lock()
        self.memory_sent = threading.Event()

    def add_event(
        self, host: str, name: str, detail: str, received_at: float, host_us: int | None
    ) -> None:
        """Add an event; set `memory_sent` when QEMU reports a completed migration."""
        with self._lock:
            self._events.append(
                GuestEvent(host, name, received_at - self.started_at, host_us, detail)
            )
        if name == "MIGRATION" and '"completed"' in detail:
            self.memory_sent.set()

    @property
    def events(self) -> tuple[GuestEvent, ...]:
        """Return the events so far."""
        with self._lock:
            return tuple(self._events)


@contextmanager
def collect_events(guest_name: str, hosts: tuple[Host, ...]) -> Iterator[EventLog]:
    """Collect the events of a guest on each of `hosts` while the block runs."""
    event_log = EventLog()
    with ExitStack() as stack:
        for host in hosts:

            def add_host_event(
                name: str,
                detail: str,
                received_at: float,
                host_us: int | None,
                host_name: str = host.name,
            ) -> None:
                event_log.add_event(host_name, name, detail, received_at, host_us)

            stack.callback(host.libvirt.watch_domain_events(guest_name, add_host_event))
        yield event_log
