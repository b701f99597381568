"""Commands that an operator gives for a guest while the guest migrates."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from fixtures.plugins.guests import RecordFigures
from migqual.errors import InconclusiveError
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
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
class VirshResult:
    """The result of a virsh command: the exit status and the output in one line."""

    status: int
    output: str

    @property
    def is_refused(self) -> bool:
        """Return whether libvirt refused the command."""
        return self.status not in {0, _TIMEOUT_STATUS}

    def __str__(self) -> str:
        if self.status == _TIMEOUT_STATUS:
            return f"no answer within {COMMAND_SECONDS} s"
        return f"refused: {self.output}" if self.is_refused else f"accepted: {self.output}"


@dataclass(frozen=True)
class CommandedMigration:
    """A migration during which an operator gave commands for the guest.

    Attributes:
        results: The result of each command, by the name of the command.
        phase: Phase of the migration after the last command.
        migration: The migration after its end.
    """

    results: Mapping[str, VirshResult]
    phase: MigrationPhase
    migration: ObservedMigration

    @property
    def accepted_commands(self) -> list[str]:
        """Return the names of the commands that libvirt did not refuse."""
        return [name for name, result in self.results.items() if not result.is_refused]

    def record(self, record_figures: RecordFigures, title: str, **states: DomainState) -> None:
        """Record libvirt's answer to each command for the report.

        Args:
            record_figures: The fixture.
            title: Title of the table.
            **states: State of the guest on each host after the migration, by name of the host.
        """
        answers = {name: str(result) for name, result in self.results.items()}
        host_states = {f"state on {name}": str(state) for name, state in states.items()}
        record_figures(title, answers | host_states)


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
    results: dict[str, VirshResult] = {}
    with hold_migration(testbed, guest, plan, MigrationPhase.FIRST_ITERATION) as held:
        held.inject_once(
            f"commands on {host.name}", lambda: results.update(run_virsh_commands(host, commands))
        )
        phase = held.query_phase()
        held.release()
        return CommandedMigration(results, phase, held.wait_for_end())


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
    host: Host, commands: Mapping[str, tuple[str, ...]]
) -> dict[str, VirshResult]:
    """Run virsh commands on the host at the same time, and wait for all of them.

    Args:
        host: The host.
        commands: Arguments of virsh for each command, by the name of the command.

    Returns:
        The result of each command, by the name of the command.

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
    return dict(zip(commands, _parse_results(listing), strict=True))


def _parse_results(listing: str) -> list[VirshResult]:
    results = []
    for text in listing.split("=== ")[1:]:
        status, _, output = text.partition("\n")
        words = " ".join(output.split())  # a program may complain about the locale first
        results.append(VirshResult(int(status), words.partition("error: ")[2] or words))
    return results
