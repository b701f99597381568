"""An event of a guest, from libvirt or QEMU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GuestEvent:
    """An event that libvirt or QEMU reported for a guest.

    Attributes:
        at_s: Arrival at the controller, in s from the start of the migration.
        host_clock_us: Time on the host's clock in µs. None means that the event contains no time.
    """

    host: str
    name: str
    at_s: float
    host_clock_us: int | None = None
    detail: str = ""
