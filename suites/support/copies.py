"""Copies of a guest after a fault: one host at most runs the guest."""

from dataclasses import replace

from migqual.deadline import Deadline
from migqual.errors import GuestError, TimedOut, ViolationError
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model.outcome import Outcome
from migqual.observe.split_brain import RUNNING_STATES, find_overlap_violations
from migqual.probes.clocks import measure_clock_difference
from migqual.testbed.testbed import Testbed, raise_violations

CLEANUP_SECONDS = 30.0
BOOT_SECONDS = 60.0


def require_no_second_copy(guest: Guest, testbed: Testbed, outcome: Outcome) -> None:
    """Require that only one host runs the guest, now and at each moment of the migration.

    The function waits until the other host has no QEMU process of the guest. The function does not
    check memory and disks.

    Args:
        guest: The migrated guest.
        testbed: The testbed of the hosts.
        outcome: The outcome of the completed migration, with QEMU's events of both hosts.

    Raises:
        ViolationError: Another host runs the guest or has a QEMU process of the guest.
        InconclusiveError: The events or the clocks do not show whether the guest ran on both hosts.
    """
    wait_for_single_copy(guest, (testbed.pair.get_peer(guest.host),), may_stay=False)
    if not testbed.pair.has_common_clock:
        difference = measure_clock_difference(*testbed.hosts, testbed.probe_context)
        outcome = replace(outcome, clock_difference=difference)
    raise_violations(tuple(find_overlap_violations(outcome)))


def list_running_hosts(guest: Guest, hosts: tuple[Host, ...]) -> list[str]:
    """List the names of the hosts that run the guest. A paused guest does not run."""
    states = guest.query_states_by_host(hosts)
    return [name for name, state in states.items() if state in RUNNING_STATES]


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
        running = list_running_hosts(guest, hosts)
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


def start_again(testbed: Testbed, guest: Guest) -> None:
    """Destroy all copies of the guest, start the guest from its definition, and wait for the agent.

    Raises:
        GuestError: No host has a definition of the guest.
    """
    for host in testbed.hosts:
        if (domain := host.libvirt.find_domain(guest.name)) is not None:
            domain.destroy()
    for host in testbed.hosts:
        domain = host.libvirt.find_domain(guest.name)
        if domain is not None and domain.query_state() is DomainState.SHUT_OFF:
            guest.set_host(host)
            domain.start()
            guest.wait_for_agent(Deadline(BOOT_SECONDS))
            return
    raise GuestError(f"no host has a definition of {guest.name}")
