"""Commands that an operator gives for a guest while the guest migrates."""

import re
import shlex
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.model.record import CommandAnswer, CommandRecord
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.observers import ObservedMigration
from migqual.testbed.testbed import Testbed

# libvirt waits 30 s for the lock of a guest with a job, then libvirt refuses the command. If there
# are more waiting commands than free worker threads, the others wait for 30 or 60 s more.
COMMAND_SECONDS = 100
# arguments of virsh for each command, by the name of the command
VirshCommands = Mapping[str, tuple[str, ...]]
# One SSH session for all commands, because a server may allow few sessions.
_RUN_SCRIPT = """\
command -v virsh >/dev/null || { echo "no virsh"; exit 0; }
folder=$1
limit=$2
shift 2
mkdir -p "$folder"
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
CONTROL_COMMAND = "dominfo"
# Messages of virsh and of timeout(1) about a command that did not reach libvirt.
_VIRSH_FAILURE = re.compile(
    r"failed to connect|unknown command|command .* doesn't support|failed to run command"
    r"|command not found"
)


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
        """Return the commands that libvirt did not refuse, for example `source: suspend`."""
        return [
            f"{one.role}: {one.command}"
            for one in self.commands
            if one.answer is not CommandAnswer.REFUSED
        ]


def run_commands_during_migration(
    testbed: Testbed,
    guest: Guest,
    plan: Plan,
    *,
    at_source: VirshCommands | None = None,
    at_destination: VirshCommands | None = None,
) -> CommandedMigration:
    """Run virsh commands in the first iteration of a migration, then let the migration continue.

    All commands, at the source and at the destination, run at the same time.

    Args:
        testbed: The testbed of the guest.
        guest: A guest from `testbed.make_guest`.
        plan: Settings of the migration.
        at_source: Arguments of virsh for each command at the source, by the name of the command.
        at_destination: The same for the destination.

    Raises:
        InconclusiveError: The commands did not start in the first iteration.
    """
    source, destination = guest.host, testbed.pair.get_peer(guest.host)
    calls = (("source", source, at_source), ("destination", destination, at_destination))
    records: list[CommandRecord] = []
    journal = testbed.probe_context.journal

    def run_all_commands() -> None:
        with ThreadPoolExecutor(len(calls)) as executor:
            futures = [
                executor.submit(run_virsh_commands, journal, host, guest.name, role, commands)
                for role, host, commands in calls
                if commands
            ]
        for future in futures:
            records.extend(future.result())

    with hold_migration(testbed, guest, plan, MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once("commands of an operator", run_all_commands)
        phase = held.query_phase()
        held.release()
        return CommandedMigration(tuple(records), phase, held.wait_for_end())


@contextmanager
def open_command_folder(testbed: Testbed, guest: Guest) -> Iterator[PurePosixPath]:
    """Yield a folder on the source for the files of an operator's virsh commands.

    Some commands read a file there, for example `attach-device`. Other commands, for example
    `save`, write a file there if libvirt does not refuse the command. At the end the folder is
    removed.
    """
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
    journal: Journal, host: Host, guest_name: str, role: str, commands: VirshCommands
) -> list[CommandRecord]:
    """Run virsh commands on the host at the same time, and wait until all commands have ended.

    The function adds the command `virsh dominfo`, which must succeed. This shows that virsh reaches
    libvirt while the other commands wait for the migration.

    Args:
        journal: Journal of the run. The function adds an entry before the commands start, so that
            `migqual sweep` can end the commands.
        host: The host.
        guest_name: Name of the migrating guest.
        role: Role of the host in the migration, `source` or `destination`.
        commands: Arguments of virsh for each command, by the name of the command.

    Raises:
        InconclusiveError: The host has no virsh, libvirt refused `virsh dominfo`, or libvirt did
            not answer a command. For example, virsh did not reach libvirt, or got no answer in
            time.
    """
    folder = host.entry.scratch / f"{guest_name}-answers"
    # The commands wait for libvirt on the host, also if migqual is killed. They would act after the
    # end of the run, for example start the guest again.
    undo = [
        ("pkill", "-KILL", "-f", f"[v]irsh.*{guest_name}"),
        ("rm", "-rf", "--", str(folder)),
    ]
    entry = journal.record(host.name, "processes", f"virsh for {guest_name}", undo)
    all_commands = {CONTROL_COMMAND: (CONTROL_COMMAND, guest_name), **commands}
    lines = [shlex.join(arguments) for arguments in all_commands.values()]
    listing = host.shell.run(
        *("sh", "-c", _RUN_SCRIPT, "sh", str(folder), str(COMMAND_SECONDS), *lines),
        seconds=COMMAND_SECONDS + 20,
    ).stdout
    journal.record_removal(entry)
    if listing.startswith("no virsh"):
        raise InconclusiveError(
            f"{host.name} has no virsh", remedy="install the client programs of libvirt"
        )
    results = [text.partition("\n") for text in listing.split("=== ")[1:]]
    control, *records = (
        CommandRecord(name, role, _find_answer(int(status)), _extract_message(output))
        for name, (status, _, output) in zip(all_commands, results, strict=True)
    )
    for record in (control, *records):
        _require_answer(host, record)
    _require_accepted_control(host, control)
    return records


def _require_accepted_control(host: Host, control: CommandRecord) -> None:
    """Require that libvirt accepted `virsh dominfo`, which must succeed during a migration.

    Raises:
        InconclusiveError: libvirt refused the command.
    """
    if control.answer is not CommandAnswer.ACCEPTED:
        raise InconclusiveError(
            f"{host.name}: virsh {CONTROL_COMMAND} must succeed during a migration, but libvirt "
            f"refused the command: {control.message}"
        )


def _require_answer(host: Host, record: CommandRecord) -> None:
    """Require that libvirt itself answered the command.

    Raises:
        InconclusiveError: virsh did not reach libvirt, does not know the command, or got no
            answer in time.
    """
    if record.answer is CommandAnswer.MISSING:
        raise InconclusiveError(
            f"{host.name}: no answer to virsh {record.command} within {COMMAND_SECONDS} s"
        )
    if record.answer is CommandAnswer.REFUSED and _VIRSH_FAILURE.search(record.message):
        raise InconclusiveError(
            f"{host.name}: virsh {record.command} failed before the command reached libvirt: "
            f"{record.message}"
        )


def _find_answer(status: int) -> CommandAnswer:
    """Find the answer of libvirt from the exit status of `timeout virsh`."""
    if status == _TIMEOUT_STATUS:
        return CommandAnswer.MISSING
    return CommandAnswer.REFUSED if status else CommandAnswer.ACCEPTED


def _extract_message(output: str) -> str:
    """Extract the last error message of virsh, or the whole output, in one line."""
    return " ".join(output.split()).rpartition("error: ")[2]
