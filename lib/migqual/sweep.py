"""Remove the objects that a crashed run left on hosts.

The open entries in the journal of the run name these objects.
"""

from collections.abc import Callable, Collection
from contextlib import ExitStack

from migqual.errors import ConnectionLost, HostError, UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import JournalEntry, JournalFile
from migqual.hosts.volume import undo_entry
from migqual.inventory.entities import Inventory
from migqual.inventory.file import load_inventory

ProgressCallback = Callable[[str], None]


def describe_entry(entry: JournalEntry) -> str:
    """Describe a journal entry as text, for example `domain mq-1 on a1`."""
    return f"{entry.kind} {entry.name} on {entry.host}"


def remove_open_entries(
    journal_file: JournalFile, report_progress: ProgressCallback, host_names: Collection[str] = ()
) -> bool:
    """Remove the objects of all open journal entries from the hosts, newest object first.

    After a failed removal the entry stays open for the next sweep. A journal without open entries
    is deleted.

    Args:
        journal_file: The journal of a crashed run.
        report_progress: Function that gets a line of text for each removed object and each failure.
        host_names: Hosts on which objects are removed. An empty collection means all hosts.

    Returns:
        True if the objects of all open entries on the chosen hosts were removed.

    Raises:
        UsageError: The inventory of the crashed run cannot be read. No object was removed.
    """
    entries = [
        entry for entry in journal_file.open_entries if not host_names or entry.host in host_names
    ]
    inventory = load_inventory(journal_file.inventory) if entries else None
    with ExitStack() as stack:
        connections = _HostConnections(inventory, stack)
        kept_entries = [
            entry
            for entry in entries
            if not _remove_entry(entry, journal_file, connections, report_progress)
        ]
    if not kept_entries and len(entries) == len(journal_file.open_entries):
        journal_file.delete()
    return not kept_entries


class _HostConnections:
    """Connections to hosts, opened on first use.

    After a connection to a host was lost, migqual does not connect to the host again.
    """

    def __init__(self, inventory: Inventory | None, stack: ExitStack) -> None:
        self._inventory = inventory
        self._stack = stack
        self._hosts: dict[str, Host] = {}
        self._lost_connections: dict[str, ConnectionLost] = {}

    def open_host(self, name: str) -> Host:
        """Return the host `name`. The first call connects to the host.

        Raises:
            UsageError: The inventory no longer has the host.
            ConnectionLost: The host is unreachable, now or in an earlier call.
        """
        if name in self._lost_connections:
            raise self._lost_connections[name]
        if name not in self._hosts:
            if self._inventory is None:
                raise UsageError(
                    f"cannot connect to host {name}: the sweep has not loaded the inventory; "
                    "report this error to the maintainers of migqual"
                )
            self._hosts[name] = self._stack.enter_context(Host(self._inventory.find_host(name)))
        return self._hosts[name]

    def mark_lost(self, name: str, error: ConnectionLost) -> None:
        """Mark the host `name` as lost; `open_host` then raises `error` for the host."""
        self._lost_connections[name] = error


def _remove_entry(
    entry: JournalEntry,
    journal_file: JournalFile,
    connections: _HostConnections,
    report_progress: ProgressCallback,
) -> bool:
    try:
        undo_entry(connections.open_host(entry.host), entry)
    except (HostError, UsageError) as error:
        if isinstance(error, ConnectionLost):
            connections.mark_lost(entry.host, error)
        report_progress(f"could not remove {describe_entry(entry)}: {error}")
        return False
    journal_file.record_removal(entry)
    report_progress(f"removed {describe_entry(entry)}")
    return True
