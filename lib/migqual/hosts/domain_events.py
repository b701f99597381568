"""Subscribe to the events that libvirt and QEMU report about a domain."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import libvirt
import libvirt_qemu

# event name, detail, controller's monotonic time in s, host's clock in µs (QEMU events only)
EventCallback = Callable[[str, str, float, int | None], None]

_LIFECYCLE_EVENT_NAMES = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}


class DomainEventHub:
    """A subscription to the events of all domains on a connection, for any number of watchers.

    libvirt accepts only one subscription to each kind of event on a connection. The hub subscribes
    when the first watcher is added, and unsubscribes when the last watcher is removed.
    """

    def __init__(self, raw_connection: Any) -> None:  # noqa: ANN401
        self._raw = raw_connection
        self._watchers: list[tuple[str, EventCallback]] = []
        self._lock = threading.Lock()
        self._stop_events: list[Callable[[], None]] = []

    def watch(self, domain_name: str, on_event: EventCallback) -> Callable[[], None]:
        """Call `on_event` for every event of a domain.

        Args:
            domain_name: Name of the domain. The domain may be created later, e.g. by a migration.
            on_event: Function with four arguments: name of the event, detail, time at which the
                controller received the event (`time.monotonic`, in s), and time of the event on
                the host's clock in µs. The last argument is None for an event of libvirt.

        Returns:
            A function that ends the calls of `on_event`.
        """
        watcher = (domain_name, on_event)
        with self._lock:
            if not self._watchers:
                self._stop_events = [
                    *_subscribe_domain_events(self._raw, self._hand_out),
                    _subscribe_qemu_events(self._raw, self._hand_out),
                ]
            self._watchers.append(watcher)

        def stop_watching() -> None:
            with self._lock:
                self._watchers.remove(watcher)
                stop_events = [] if self._watchers else self._stop_events
            for stop_event in stop_events:
                with suppress(libvirt.libvirtError):
                    stop_event()

        return stop_watching

    def _hand_out(
        self,
        domain: Any,  # noqa: ANN401
        name: str,
        detail: str,
        host_clock_us: int | None = None,
    ) -> None:
        received_at, domain_name = time.monotonic(), domain.name()
        with self._lock:
            watchers = [on_event for watched, on_event in self._watchers if watched == domain_name]
        for on_event in watchers:
            on_event(name, detail, received_at, host_clock_us)


def _subscribe_domain_events(
    raw_connection: Any,  # noqa: ANN401
    hand_out: Callable[..., None],
) -> list[Callable[[], None]]:
    """Subscribe to the life-cycle, migration-iteration and job-completed events of all domains.

    Returns:
        For each subscription, a function that ends the subscription.
    """

    def on_lifecycle_event(
        _connection: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event: int,
        detail: int,
        _opaque: Any,  # noqa: ANN401
    ) -> None:
        hand_out(domain, _LIFECYCLE_EVENT_NAMES.get(event, str(event)), str(detail))

    def on_iteration(_connection: Any, domain: Any, iteration: int, _opaque: Any) -> None:  # noqa: ANN401
        hand_out(domain, "iteration", str(iteration))

    def on_job_completed(_connection: Any, domain: Any, stats: Any, _opaque: Any) -> None:  # noqa: ANN401
        hand_out(domain, "job-completed", json.dumps(stats, default=str))

    callback_ids = [
        raw_connection.domainEventRegisterAny(None, event_id, callback, None)
        for event_id, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle_event),
            (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
            (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed),
        )
    ]
    return [partial(raw_connection.domainEventDeregisterAny, one) for one in callback_ids]


def _subscribe_qemu_events(
    raw_connection: Any,  # noqa: ANN401
    hand_out: Callable[..., None],
) -> Callable[[], None]:
    """Subscribe to the QEMU events of all domains, with the time of the host's clock.

    Returns:
        A function that ends the subscription.
    """

    def on_qemu_event(
        _connection: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event_name: str,
        seconds: int,
        microseconds: int,
        details: str,
        _opaque: Any,  # noqa: ANN401
    ) -> None:
        hand_out(domain, event_name, details or "", seconds * 1_000_000 + microseconds)

    callback_id = libvirt_qemu.qemuMonitorEventRegister(
        raw_connection, None, None, on_qemu_event, None, 0
    )
    return partial(libvirt_qemu.qemuMonitorEventDeregister, raw_connection, callback_id)
