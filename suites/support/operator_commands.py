"""Commands that an operator gives for a guest while the guest migrates."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.model.record import CommandAnswer, CommandRecord
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.observers import ObservedMigration
from migqual.testbed.testbed import Testbed

# libvirt waits 30 s for the lock of a guest with a job, then libvirt refuses the command
COMMAND_SECONDS = 50
# One SSH session for all commands, because a server may allow few sessions.
_RUN_SCRIPT = """\
command -v virsh >/dev/null || { echo "no virsh"; exit 0; }
folder=$(mktemp -d)
limit=$1
shift
for line in "$@"; do
    n=$((n + 1))
    (eval "timeout $limit virsh -c qemu:///system $line" >"$folder/$n" 2>&1 </dev/null
    echo "$?" >"$folder/$n.status") &
done
wait
n=0
for line in "$@"; do
    n=$((n + 1))
    echo "=== $(cat "$folder/$n.status")"
    cat "$folder/$n"
done
rm -rf "$folder"
"""
_TIMEOUT_STATUS = 124  # of timeout(1)


@dataclass(frozen=True)
class CommandedMigration:
    """A migration during which an operator gave commands for the guest.

    Attributes:
        commands: The commands, with the answers of libvirt.
        phase: Phase of the migration after the last command.
        migration: The migration after its end.
    """

    commands: tuple[CommandRecord, ...]
    phase: MigrationPhase
    migration: ObservedMigration

    @property
    def accepted_commands(self) -> list[str]:
        """Return the names of the commands that libvirt did not refuse."""
        return [one.command for one in self.commands if one.answer is not CommandAnswer.REFUSED]


def run_commands_during_migration(
    testbed: Testbed, guest: Guest, plan: Plan, host: Host, commands: Mapping[str, tuple[str, ...]]
) -> CommandedMigration:
    """Run virsh commands on `host` in the first iteration of a migration, then let it continue.

    Args:
        testbed: The testbed of the guest.
        guest: A guest from `testbed.make_guest`.
        plan: Settings of the migration.
        host: The host that gets the commands: the source or the destination.
        commands: Arguments of virsh for each command, by the name of the command.

    Raises:
        InconclusiveError: The commands did not fall in the first iteration.
    """
    role = "source" if host is guest.host else "destination"
    records: list[CommandRecord] = []
    with hold_migration(testbed, guest, plan, MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once(
            f"commands at the {role}",
            lambda: records.extend(run_virsh_commands(host, role, commands)),
        )
        phase = held.query_phase()
        held.release()
        return CommandedMigration(tuple(records), phase, held.wait_for_end())


@contextmanager
def open_command_folder(testbed: Testbed, guest: Guest) -> Iterator[PurePosixPath]:
    """Yield a folder on the source for files that the commands read or would write."""
    host = testbed.source
    folder = host.entry.scratch / f"{guest.name}-commands"
    journal = testbed.probe_context.journal
    entry = journal.record(host.name, "folder", str(folder), [("rm", "-rf", "--", str(folder))])
    host.shell.run("mkdir", "-m", "777", "--", folder)
    try:
        yield folder
    finally:
        host.shell.run("rm", "-rf", "--", folder)
        journal.record_removal(entry)


def run_virsh_commands(
    host: Host, role: str, commands: Mapping[str, tuple[str, ...]]
) -> list[CommandRecord]:
    """Run virsh commands on the host at the same time, and wait for all of them.

    Args:
        host: The host.
        role: Role of the host in the migration, `source` or `destination`.
        commands: Arguments of virsh for each command, by the name of the command.

    Raises:
        InconclusiveError: The host has no virsh.
    """
    lines = [shlex.join(arguments) for arguments in commands.values()]
    listing = host.shell.run(
        *("sh", "-c", _RUN_SCRIPT, "sh", str(COMMAND_SECONDS), *lines),
        seconds=COMMAND_SECONDS + 20,
    ).stdout
    if listing.startswith("no virsh"):
        raise InconclusiveError(
            f"{host.name} has no virsh", remedy="install the client programs of libvirt"
        )
    results = [text.partition("\n") for text in listing.split("=== ")[1:]]
    return [
        CommandRecord(name, role, _find_answer(int(status)), _extract_message(output))
        for name, (status, _, output) in zip(commands, results, strict=True)
    ]


def _find_answer(status: int) -> CommandAnswer:
    """Find the answer of libvirt from the exit status of `timeout virsh`."""
    if status == _TIMEOUT_STATUS:
        return CommandAnswer.MISSING
    return CommandAnswer.REFUSED if status else CommandAnswer.ACCEPTED


def _extract_message(output: str) -> str:
    """Extract the last error message of virsh, or the whole output, in one line."""
    return " ".join(output.split()).rpartition("error: ")[2]
