"""libvirt's event loop, in one daemon thread for the whole process."""

import threading

import libvirt

_started = threading.Lock()
_threads: list[threading.Thread] = []


def ensure_loop() -> None:
    """Start the loop once. Must come before the first connection is opened."""
    with _started:
        if _threads:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        thread.start()
        _threads.append(thread)


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
