"""Run the commands of a fault on a host, and undo the fault after the block."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from migqual.errors import InconclusiveError, WithheldError
from migqual.hosts.host import Host
from migqual.hosts.journal import Argv, Journal


@contextmanager
def inject_commands(
    journal: Journal,
    host: Host,
    description: str,
    commands: Sequence[Argv],
    undo_commands: Sequence[Argv],
    is_in_force: Callable[[], bool],
) -> Iterator[None]:
    """Run `commands`, the block, and then `undo_commands` in reverse order.

    Args:
        journal: Gets an entry with the fault and the undo commands before the first command runs.
        host: The host on which all commands run.
        description: Name of the fault for the journal and for error messages.
        commands: The commands of the fault.
        undo_commands: The commands that undo the fault. A repeated undo command must do no harm.
        is_in_force: Returns whether the fault is in force; called once after `commands`.

    Raises:
        CommandFailed: A command of the fault failed.
        InconclusiveError: The fault is not in force after `commands`.
    """
    ordered_undo = tuple(reversed(undo_commands))
    journal_entry = journal.record(host.name, "damage", description, ordered_undo)
    try:
        for argv in commands:
            host.shell.run(*argv)
        if not is_in_force():
            raise InconclusiveError(f"{host.name}: the fault is not in force: {description}")
        yield
    finally:
        for argv in ordered_undo:
            host.shell.run_unchecked(*argv)
        journal.record_removal(journal_entry)


def require_exclusive_hosts(description: str, *hosts: Host) -> None:
    """Require that nobody else uses the hosts, because a fault could harm other users.

    Args:
        description: Name of the fault for the error message.
        *hosts: The hosts that the fault affects.

    Raises:
        WithheldError: A host has no `migqual_exclusive: true` and is not a lab host.
    """
    for host in hosts:
        if not host.entry.is_exclusive:
            raise WithheldError(
                f"{description}: others may use {host.name}, so migqual does not inject this fault",
                remedy=f"set migqual_exclusive: true for {host.name} if nobody else uses the host",
            )
