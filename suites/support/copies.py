"""Copies of a guest after a fault: one host at most runs the guest."""

from migqual.deadline import Deadline
from migqual.errors import TimedOut, ViolationError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.observe.split_brain import RUNNING_STATES

CLEANUP_SECONDS = 30.0


def wait_for_single_copy(
    guest: Guest, hosts: tuple[Host, ...], *, may_stay: bool, seconds: float = CLEANUP_SECONDS
) -> None:
    """Wait until at most one of the hosts has a QEMU process of the guest.

    If `may_stay` is False, wait until no host has a QEMU process of the guest.

    Args:
        guest: The guest.
        hosts: The hosts on which a copy (a QEMU process) of the guest may be.
        may_stay: True permits one copy; False permits none.
        seconds: Time in which libvirt removes the other copies.

    Raises:
        ViolationError: Two hosts run the guest, or too many copies are still there after `seconds`.
    """
    allowed_count = 1 if may_stay else 0

    def has_few_copies() -> bool:
        states = guest.query_states_by_host(hosts)
        running = [name for name, state in states.items() if state in RUNNING_STATES]
        if len(running) > 1:
            raise ViolationError(f"split brain: {guest.name} runs on {' and '.join(running)}")
        processes = [host.name for host in hosts if host.list_qemu_pids(guest.name)]
        return len(processes) <= allowed_count and len(running) <= allowed_count

    try:
        Deadline(seconds).wait_for(
            f"the end of other copies of {guest.name}", has_few_copies, interval_s=0.1
        )
    except TimedOut as error:
        raise ViolationError(error.message) from error
