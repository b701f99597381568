"""Switch a host off, as a power failure does, and on again after the block."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.faults.injection import require_exclusive_hosts
from migqual.hosts.host import Host
from migqual.hosts.host_power import POWER_KIND, PowerAction, switch_on, switch_power
from migqual.hosts.journal import Journal
from migqual.hosts.libvirt_daemon import check_harmless_restart


@contextmanager
def power_off(journal: Journal, host: Host) -> Iterator[None]:
    """Switch the host off at once; after the block switch it on, and wait until it answers.

    Args:
        journal: Names the host before the host is off, so that `migqual sweep` switches it on.
        host: The host to switch off.

    Raises:
        WithheldError: Others may use the host, or the inventory has no power command.
        HostError: The power command fails.
        TimedOut: The host does not answer after it was switched on.
    """
    require_exclusive_hosts("power failure", host)
    check_harmless_restart(host)
    journal_entry = journal.record(host.name, POWER_KIND, host.entry.address)
    try:
        switch_power(host.entry, PowerAction.OFF)
        yield
    finally:
        switch_on(host)
        journal.record_removal(journal_entry)
