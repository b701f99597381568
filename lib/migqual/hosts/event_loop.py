"""Run libvirt's event loop in a single daemon thread of the process."""

import threading

import libvirt

_start_lock = threading.Lock()
_loop_threads: list[threading.Thread] = []


def ensure_event_loop() -> None:
    """Start libvirt's event loop once, before the process opens a libvirt connection."""
    with _start_lock:
        if _loop_threads:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True)
        thread.start()
        _loop_threads.append(thread)


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
