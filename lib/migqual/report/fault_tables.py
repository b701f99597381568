"""List the faults and the commands of all tests for the tables of the report. No side effects."""

from collections.abc import Sequence
from dataclasses import dataclass

from migqual.model.record import CommandAnswer, TestRecord


@dataclass(frozen=True)
class FaultRow:
    """A fault that a test injected into a migration, and the end of the migration.

    Attributes:
        pair: Id of the pair, with the stack if a report contains several stacks.
        plan: Settings of the migration that differ from the default. Bandwidth, post-copy
            bandwidth and deadline are omitted: the test sets these limits to keep the migration
            in `phase` until the fault.
        ending: Status of the migration, and the message of libvirt or QEMU.
        seconds: Duration of the migration in s, or None if it was not measured.
    """

    fault: str
    phase: str
    pair: str
    plan: str
    ending: str
    seconds: float | None


@dataclass(frozen=True)
class CommandRow:
    """The answers of libvirt to a command for a migrating guest, at a source or a destination.

    Attributes:
        answers: Each different answer, with the pairs on which libvirt gave the answer, e.g.
            ``accepted (a1-b1, a2-b2)``.
    """

    command: str
    role: str
    answers: tuple[str, ...]


_HOLDING_SETTINGS = {"bandwidth_mib_s", "postcopy_bandwidth_mib_s", "deadline_s"}


def list_fault_rows(records: Sequence[TestRecord]) -> list[FaultRow]:
    """List all injected faults, sorted by fault, phase and pair."""
    rows = [
        FaultRow(
            fault.name,
            fault.phase,
            record.pair.id if record.pair else "",
            ", ".join(
                f"{name} {value}"
                for name, value in migration.plan.items()
                if name not in _HOLDING_SETTINGS
            ),
            f"{migration.status} {migration.error}".strip(),
            migration.metrics.get("wall_s"),
        )
        for record in records
        for migration in record.migrations
        for fault in migration.faults
    ]
    return sorted(rows, key=lambda row: (row.fault, row.phase, row.pair))


def list_command_rows(records: Sequence[TestRecord]) -> list[CommandRow]:
    """List the answers of libvirt. Each combination of a command and a role has one row.

    The role of the host is source or destination. Each answer names the pairs on which libvirt
    gave the answer, e.g. ``accepted (a1-b1, a2-b2)``.
    """
    pairs_by_answer: dict[tuple[str, str], dict[str, list[str]]] = {}
    for record in records:
        for command in record.commands:
            has_message = command.message and command.answer is not CommandAnswer.ACCEPTED
            answer = f"{command.answer}{f': {command.message}' if has_message else ''}"
            answers = pairs_by_answer.setdefault((command.command, command.role), {})
            answers.setdefault(answer, []).append(record.pair.id if record.pair else "")
    return [
        CommandRow(
            command,
            role,
            tuple(
                f"{answer} ({', '.join(sorted(set(pairs)))})" for answer, pairs in answers.items()
            ),
        )
        for (command, role), answers in sorted(pairs_by_answer.items())
    ]
