"""All errors of migqual.

MigqualError                    message, remedy
├── UsageError                  bad input: place and remedy, exit code 2
│   └── InventoryError          all problems of an inventory, profile or topology file
├── TimedOut                    a deadline passed
├── TroubleError                the experiment was not possible; no fault of a tested host
│   ├── LabError                the embedded lab
│   ├── HostError               a host is unreachable or fails at a basic operation
│   │   ├── ConnectionLost      SSH or libvirt connection
│   │   │   └── LoginRefused    the SSH server refuses the key, or the host key is not trusted
│   │   ├── RestoreFailed       libvirt does not restore a guest from a saved state
│   │   ├── CommandFailed       a command on a host: argv, status, output
│   │   └── StackError          libvirt or QEMU refused a call: message of the stack
│   ├── GuestError              a guest cannot be defined, started or contacted
│   └── InconclusiveError       the experiment did not happen as planned
├── UnsupportedError            the host lacks a feature and says so
├── GuardRefusal                a preflight guard refused before any change: findings
├── ViolationError              the observers found violations; also an AssertionError
└── MigrationError              plan, message of the stack
    ├── MigrationRefused        refused before any data moved
    ├── MigrationFailed         started, then failed
    ├── MigrationTimedOut       not finished in time; was aborted
    ├── MigrationAborted        cancelled on request
    └── MigrationStuck          continues although libvirt accepted the aborts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migqual.model.finding import Finding
    from migqual.model.outcome import Outcome


class MigqualError(Exception):
    """Base class of all errors of migqual.

    Attributes:
        message: The problem.
        remedy: An action for the user to solve the problem; empty when unknown.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(MigqualError):
    """Input of the user cannot be used. Exit code 2."""


@dataclass(frozen=True)
class InputProblem:
    """A problem in a file written by a person.

    Attributes:
        path: The place inside the YAML document, or `file`.
        message: The problem.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InventoryError(UsageError):
    """All problems of a YAML file (inventory, profile, topology, requirements) at once.

    Attributes:
        file: The name of the file.
        problems: The problems, in the order of discovery.
    """

    def __init__(self, file: str, problems: Sequence[InputProblem], *, remedy: str = "") -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(
            f"{file}: {len(problems)} error{'s'[: len(problems) != 1]}{lines}", remedy=remedy
        )
        self.file = file
        self.problems = tuple(problems)


class TimedOut(MigqualError):  # noqa: N818 - the field's word
    """A deadline passed."""


class TroubleError(MigqualError):
    """The experiment was not possible. The error is no statement about the hosts under test."""


class LabError(TroubleError):
    """The embedded lab could not be built, or broke."""


class HostError(TroubleError):
    """A host fails at an operation expected of every host.

    Attributes:
        host: The name of the host.
    """

    def __init__(self, host: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{host}: {message}", remedy=remedy)
        self.host = host


class ConnectionLost(HostError):  # noqa: N818 - the field's word
    """A connection could not be made, or was lost and could not be re-opened."""


class LoginRefused(ConnectionLost):
    """The SSH server refused the key, or the key of the host is not trusted."""


class LoginUnusable(ConnectionLost):
    """The SSH login works, but the commands do not run as root, or their output is not clean."""


class RestoreFailed(HostError):  # noqa: N818 - the field's word
    """libvirt does not restore a guest from a saved state."""


class CommandFailed(HostError):  # noqa: N818 - the field's word
    """A command on a host ended with a status other than 0."""

    def __init__(
        self, host: str, argv: Sequence[str], status: int, stdout: str, stderr: str
    ) -> None:
        output_lines = (stderr or stdout).strip().splitlines()
        super().__init__(
            host, f"{' '.join(argv)}: exit status {status}: {' | '.join(output_lines[-5:])}"
        )
        self.argv = tuple(argv)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


class StackError(HostError):
    """libvirt or QEMU refused or interrupted a call.

    Attributes:
        stack_message: The original message of libvirt or QEMU.
        code: The error code of libvirt; 0 when no code is known.
    """

    def __init__(self, host: str, operation: str, stack_message: str, code: int = 0) -> None:
        super().__init__(host, f"{operation}: {stack_message}")
        self.stack_message = stack_message
        self.code = code


class GuestError(TroubleError):
    """A guest cannot be defined, started or contacted."""


class InconclusiveError(TroubleError):
    """The experiment did not happen as planned, so the result is not known."""


class UnsupportedError(MigqualError):
    """The host lacks a feature and says so. The profile decides whether the lack is allowed."""


class GuardRefusal(MigqualError):  # noqa: N818 - the field's word
    """The guard of the library refused the migration before any change.

    Attributes:
        findings: The findings against the migration.
    """

    def __init__(self, findings: "Sequence[Finding]") -> None:
        super().__init__("; ".join(f"{f.id}: {f.message}" for f in findings))
        self.findings = tuple(findings)


class ViolationError(MigqualError, AssertionError):
    """Observers found violations: the guest, the guest's data or the hosts were harmed."""


class MigrationError(MigqualError):
    """A migration did not end with the guest running at the destination.

    Attributes:
        message: The original message of libvirt or QEMU.
        outcome: The outcome of the migration, except in an error raised without a migration.
    """

    def __init__(self, message: str, *, outcome: Any = None, remedy: str = "") -> None:  # noqa: ANN401 - None in tests of other errors
        super().__init__(message, remedy=remedy)
        self.outcome: Outcome = outcome


class MigrationRefused(MigrationError):  # noqa: N818 - the field's word
    """libvirt or QEMU refused the migration before any data moved."""


class MigrationFailed(MigrationError):  # noqa: N818 - the field's word
    """The migration started and then failed, without an abort."""


class MigrationTimedOut(MigrationError):  # noqa: N818 - the field's word
    """The migration did not end within the time of the plan; migqual aborted the migration."""


class MigrationAborted(MigrationError):  # noqa: N818 - the field's word
    """The migration was cancelled on request."""


class MigrationStuck(MigrationError):  # noqa: N818 - the field's word
    """The migration did not end although libvirt accepted the aborts.

    The fault lies with the stack. The migration may still continue.
    """
