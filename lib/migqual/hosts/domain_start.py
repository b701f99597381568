"""Start the domain of a guest, and observe the acceleration of the running guest."""

from migqual.hosts.acceleration import observe_acceleration
from migqual.hosts.guest import Guest
from migqual.hosts.saved_state import SavedState
from migqual.inventory.entities import Acceleration
from migqual.model.guest_spec import Persistence


def start_domain(guest: Guest, xml: str, state: SavedState | None) -> Acceleration:
    """Restore the guest from `state`, or boot the guest if `state` is None.

    Args:
        guest: The guest. Its host has no domain of the guest yet.
        xml: Domain XML of the guest.
        state: Saved state of a guest with the same shape.

    Returns:
        The acceleration that the running guest uses, as libvirt and QEMU report it.

    Raises:
        HostError: libvirt refuses the domain.
        GuestError: libvirt and QEMU contradict each other about the acceleration.
    """
    connection = guest.host.libvirt
    persistent = guest.spec.persistence is Persistence.PERSISTENT
    defined_domain = connection.define_domain(xml) if persistent else None
    if state is not None:
        state.restore(xml)
        guest.saved_macs = state.header.macs
    elif defined_domain is not None:
        defined_domain.start()
    else:
        connection.create_domain(xml)
    return observe_acceleration(guest.domain)
