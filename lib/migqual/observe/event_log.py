"""Collect the libvirt and QEMU events of a guest from all hosts of a migration."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from migqual.hosts.connection import Connection
from migqual.hosts.host import Host
from migqual.model.guest_event import GuestEvent


class EventLog:
    """The log of a guest's events. A thread of libvirt adds events. Other threads read the log."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self._events: list[GuestEvent] = []
        self._lock = threading.Lock()
        self._connections: dict[str, tuple[Connection, Any]] = {}
        self.memory_sent = threading.Event()

    def add_event(
        self, host: str, name: str, detail: str, received_at: float, host_us: int | None
    ) -> None:
        """Add an event to the log; set `memory_sent` if QEMU reports a completed migration."""
        with self._lock:
            self._events.append(
                GuestEvent(host, name, received_at - self.started_at, host_us, detail)
            )
        if name == "MIGRATION" and '"completed"' in detail:
            self.memory_sent.set()

    def add_connection(self, host: str, connection: Connection) -> None:
        """Remember the open connection that delivers the events of the host."""
        self._connections[host] = (connection, connection.raw)

    def is_complete(self, host: str) -> bool:
        """Return whether the connection that delivers the events of the host never broke.

        A broken connection delivers no more events, so the log can lack events of the host.
        """
        connection, raw = self._connections[host]
        return connection.is_still_open(raw)

    @property
    def events(self) -> tuple[GuestEvent, ...]:
        """Return all events received until now."""
        with self._lock:
            return tuple(self._events)


@contextmanager
def collect_events(guest_name: str, hosts: tuple[Host, ...]) -> Iterator[EventLog]:
    """Collect the events of a guest from all given hosts while the `with` block runs."""
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
            event_log.add_connection(host.name, host.libvirt)
        yield event_log
