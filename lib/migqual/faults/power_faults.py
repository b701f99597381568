"""Switch a host off, as a power failure does, and on again after the block."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.deadline import Deadline
from migqual.errors import WithheldError
from migqual.faults.injection import require_exclusive_hosts
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.host_power import (
    POWER_KIND,
    PowerAction,
    is_reachable,
    require_power_command,
    switch_on,
    switch_power,
)
from migqual.hosts.journal import Journal
from migqual.inventory.entities import HostRole

OFF_SECONDS = 60.0  # a management controller answers before the host is off
_INACTIVE_STATES = {DomainState.SHUT_OFF, DomainState.GONE, DomainState.CRASHED}


@contextmanager
def power_off(journal: Journal, host: Host, guest: Guest) -> Iterator[None]:
    """Switch the host off, run the block, and switch the host on again.

    Args:
        journal: Records the host before the power command runs, so that `migqual sweep` can
            switch the host on.
        host: The host to switch off.
        guest: The only guest that may be active on the host.

    Raises:
        WithheldError: Others may use the host, the inventory has no power command for the host, or
            the power failure would also end another guest, a store or the client.
        HostError: The power command fails.
        TimedOut: The host is not off after `OFF_SECONDS`, or does not answer after it was
            switched on.
    """
    require_exclusive_hosts("power failure", host)
    require_power_command(host.entry)
    _require_no_other_use(host, guest)
    journal_entry = journal.record(host.name, POWER_KIND, host.entry.address)
    try:
        switch_power(host.entry, PowerAction.OFF)
        host.close_connections()
        Deadline(OFF_SECONDS).wait_for(f"the end of {host.name}", lambda: not is_reachable(host))
        yield
    finally:
        switch_on(host)
        journal.record_removal(journal_entry)


def _require_no_other_use(host: Host, guest: Guest) -> None:
    """Require that the host is only a hypervisor, and that no other guest is active on the host.

    A power failure of the host would also end the other guests, the client or the store.

    Raises:
        WithheldError: The host serves a store, is the client (the host that probes the guests), or
            runs another guest.
    """
    other_roles = host.entry.roles - {HostRole.HYPERVISOR}
    other_guests = sorted(
        name
        for name, state in host.libvirt.list_domain_states().items()
        if name != guest.name and state not in _INACTIVE_STATES
    )
    if other_roles or other_guests:
        uses = ", ".join([*(f"role {role}" for role in other_roles), *other_guests])
        raise WithheldError(
            f"migqual does not switch off {host.name} for a test, because the host also has other "
            f"uses: {uses}"
        )
