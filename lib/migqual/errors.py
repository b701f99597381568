"""Define all errors of migqual, in this class hierarchy.

MigqualError                    any error; has a message and a remedy
├── UsageError                  bad input; names the place and the remedy; exit code 2
│   └── InventoryError          all problems of an input file, for example an inventory
├── TimedOut                    a condition was not true before the deadline
├── TroubleError                a fault prevented the test; no result about the hosts
│   ├── LabError                the lab cannot be built, or has a fault
│   ├── HostError               a host is unreachable or fails at a basic operation
│   │   ├── ConnectionLost      an SSH or libvirt connection cannot be made, or was lost
│   │   │   ├── LoginRefused    the SSH server refuses the key, or the host key is not trusted
│   │   │   └── LoginUnusable   the SSH login works, but commands do not work as root
│   │   ├── RestoreFailed       libvirt does not restore a guest from a saved state
│   │   ├── CommandFailed       a command on a host failed; contains argv, status, output
│   │   └── StackError          libvirt or QEMU refused a call; contains the message of the stack
│   ├── GuestError              a guest cannot be defined, started or contacted
│   └── InconclusiveError       the test did not happen as planned
├── UnsupportedError            the host lacks a feature and says so
├── NotRunError                 a host is lost or the deadline has passed before the test began
├── WithheldError               the injected fault could harm other users of a host
├── GuardRefusal                the guard refused an unsafe migration before any change
├── ViolationError              the observers found violations; also an AssertionError
└── MigrationError              a migration did not succeed; contains the message of the stack
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
        remedy: What the user can do to solve the problem, or "" if no remedy is known.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(MigqualError):
    """The input of the user is wrong. The exit code is 2."""


@dataclass(frozen=True)
class InputProblem:
    """A problem in an input file, for example in an inventory.

    Attributes:
        path: The place in the file, for example `hosts.a1.cpu`. `file` means the whole file.
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


class TimedOut(MigqualError):  # noqa: N818 - the usual term
    """A condition was not true before the deadline."""


class TroubleError(MigqualError):
    """A fault prevented the test, so there is no result about the hosts under test."""


class LabError(TroubleError):
    """The lab could not be built, or has a fault."""


class HostError(TroubleError):
    """A host is unreachable, or an operation failed that every host must support.

    Attributes:
        host: The name of the host.
    """

    def __init__(self, host: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{host}: {message}", remedy=remedy)
        self.host = host


class ConnectionLost(HostError):  # noqa: N818 - the usual term
    """An SSH or libvirt connection could not be opened, or was lost and could not be re-opened."""


class LoginRefused(ConnectionLost):
    """The SSH server refused the key, or the key of the host is not trusted."""


class LoginUnusable(ConnectionLost):
    """The SSH login works, but commands do not run as root, or the login shell prints text."""


class RestoreFailed(HostError):  # noqa: N818 - the usual term
    """libvirt could not restore a guest from a saved state."""


class CommandFailed(HostError):  # noqa: N818 - the usual term
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
        code: The error code of libvirt, or 0 if no code is known.
    """

    def __init__(self, host: str, operation: str, stack_message: str, code: int = 0) -> None:
        super().__init__(host, f"{operation}: {stack_message}")
        self.stack_message = stack_message
        self.code = code


class GuestError(TroubleError):
    """A guest cannot be defined, started or contacted."""


class InconclusiveError(TroubleError):
    """The test did not happen as planned, so the result is not known."""


class UnsupportedError(MigqualError):
    """A host reports a missing feature. The profile decides whether the feature may be absent."""


class NotRunError(MigqualError):
    """A test was not started, because a host is lost or the deadline of the run has passed."""


class WithheldError(MigqualError):
    """A test did not run, because the fault that the test injects could harm other users."""


class GuardRefusal(MigqualError):  # noqa: N818 - the usual term
    """The guard refused an unsafe migration before any change on a host.

    Attributes:
        findings: The findings that forbid the migration.
    """

    def __init__(self, findings: "Sequence[Finding]") -> None:
        super().__init__("; ".join(f"{f.id}: {f.message}" for f in findings))
        self.findings = tuple(findings)


class ViolationError(MigqualError, AssertionError):
    """Observers found violations: damage to the guest, to the guest's data or to the hosts."""


class MigrationError(MigqualError):
    """A migration did not end with the guest running at the destination.

    Attributes:
        message: The original message of libvirt or QEMU.
        outcome: The outcome of the migration, or None if no migration took place.
    """

    def __init__(self, message: str, *, outcome: Any = None, remedy: str = "") -> None:  # noqa: ANN401 - some tests pass no outcome
        super().__init__(message, remedy=remedy)
        self.outcome: Outcome = outcome


class MigrationRefused(MigrationError):  # noqa: N818 - the usual term
    """libvirt or QEMU refused the migration before any data moved."""


class MigrationFailed(MigrationError):  # noqa: N818 - the usual term
    """The migration started and then failed, without an abort."""


class MigrationTimedOut(MigrationError):  # noqa: N818 - the usual term
    """The migration took longer than `deadline_s` of its plan, so migqual aborted the migration."""


class MigrationAborted(MigrationError):  # noqa: N818 - the usual term
    """The migration was cancelled on request."""


class MigrationStuck(MigrationError):  # noqa: N818 - the usual term
    """The migration did not end although libvirt accepted the aborts.

    The fault is in libvirt or QEMU. The migration may still continue.
    """
