"""Subscribe to the events that libvirt and QEMU report about a domain."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
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


def subscribe_domain_events(
    raw_connection: Any,  # noqa: ANN401
    domain_name: str,
    on_event: EventCallback,
) -> list[int]:
    """Subscribe to the life-cycle, migration-iteration and job-completed events of a domain.

    libvirt reports the events of all domains. The callbacks ignore the events of domains with
    another name. So a subscription can begin before the domain exists, e.g. at a destination.

    Args:
        raw_connection: Connection object of the libvirt binding.
        domain_name: Name of the domain.
        on_event: Called with the name, the detail and the times of each event.

    Returns:
        The callback ids for domainEventDeregisterAny.
    """

    def on_lifecycle_event(
        _connection: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event: int,
        detail: int,
        _opaque: Any,  # noqa: ANN401
    ) -> None:
        if domain.name() == domain_name:
            on_event(
                _LIFECYCLE_EVENT_NAMES.get(event, str(event)), str(detail), time.monotonic(), None
            )

    def on_iteration(_connection: Any, domain: Any, iteration: int, _opaque: Any) -> None:  # noqa: ANN401
        if domain.name() == domain_name:
            on_event("iteration", str(iteration), time.monotonic(), None)

    def on_job_completed(_connection: Any, domain: Any, stats: Any, _opaque: Any) -> None:  # noqa: ANN401
        if domain.name() == domain_name:
            on_event("job-completed", json.dumps(stats, default=str), time.monotonic(), None)

    return [
        raw_connection.domainEventRegisterAny(None, event_id, callback, None)
        for event_id, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle_event),
            (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
            (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed),
        )
    ]


def watch_qemu_events(
    raw_connection: Any,  # noqa: ANN401
    domain_name: str,
    on_event: EventCallback,
) -> Callable[[], None]:
    """Call `on_event` for every QEMU event of a domain, with the time of the host's clock.

    Args:
        raw_connection: Connection object of the libvirt binding.
        domain_name: Name of the domain.
        on_event: Called with the name, the detail and the times of each event.

    Returns:
        A function that ends the subscription to the events.
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
        if domain.name() == domain_name:
            on_event(
                event_name, details or "", time.monotonic(), seconds * 1_000_000 + microseconds
            )

    callback_id = libvirt_qemu.qemuMonitorEventRegister(
        raw_connection, None, None, on_qemu_event, None, 0
    )

    def stop_watching() -> None:
        with suppress(libvirt.libvirtError):
            libvirt_qemu.qemuMonitorEventDeregister(raw_connection, callback_id)

    return stop_watching
