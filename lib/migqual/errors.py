"""Every error that migqual raises.

MigqualError                    message, remedy
├── UsageError                  bad input: a place and a remedy, exit code 2
│   └── InventoryError          every fault of an inventory, profile or topology file at once
├── TimedOut                    a deadline passed
├── TroubleError                the experiment could not be made; never a tested host's fault
│   ├── LabError                the embedded lab
│   ├── HostError               a host cannot be reached or does not do what every host does
│   │   ├── ConnectionLost      SSH or libvirt connection
│   │   ├── RestoreFailed       libvirt does not restore a guest that it saved
│   │   ├── CommandFailed       a command on a host: argv, status, output
│   │   └── StackError          libvirt or QEMU refused a call: its own words
│   ├── GuestError              a guest cannot be defined, started, or spoken to
│   └── InconclusiveError       the experiment did not happen as planned
├── UnsupportedError            the host lacks a feature and said so
├── GuardRefusal                a preflight guard refused before anything was touched: findings
└── MigrationError              plan, stack's words
    ├── MigrationRefused        refused before any data moved
    ├── MigrationFailed         started, then failed
    ├── MigrationTimedOut       not finished in time; was aborted
    ├── MigrationAborted        cancelled on request
    └── MigrationStuck          goes on although libvirt took the aborts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migqual.model.finding import Finding


class MigqualError(Exception):
    """Base of all. `remedy` says what a person can do about it."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(MigqualError):
    """Something that the user gave cannot be used. Exit code 2."""


@dataclass(frozen=True)
class Fault:
    """One fault in a file that a person wrote."""

    path: str
    words: str

    def __str__(self) -> str:
        return f"{self.path}: {self.words}"


class InventoryError(UsageError):
    """All faults of one YAML file (inventory, profile, topology, requirements) at once."""

    def __init__(self, file: str, faults: Sequence[Fault], *, remedy: str = "") -> None:
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(
            f"{file}: {len(faults)} error{'s'[: len(faults) != 1]}{lines}", remedy=remedy
        )
        self.file = file
        self.faults = tuple(faults)


class TimedOut(MigqualError):  # noqa: N818 - the field's word
    """A deadline passed."""


class TroubleError(MigqualError):
    """The experiment could not be made. Says nothing about the hosts under test."""


class LabError(TroubleError):
    """The embedded lab could not be built, or broke."""


class HostError(TroubleError):
    """A host does not do what every host does."""

    def __init__(self, host: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{host}: {message}", remedy=remedy)
        self.host = host


class ConnectionLost(HostError):  # noqa: N818 - the field's word
    """A connection could not be made, or was lost and could not be re-opened."""


class RestoreFailed(HostError):  # noqa: N818 - the field's word
    """libvirt does not restore a guest that it saved."""


class CommandFailed(HostError):  # noqa: N818 - the field's word
    """A command on a host ended with a status other than 0."""

    def __init__(
        self, host: str, argv: Sequence[str], status: int, stdout: str, stderr: str
    ) -> None:
        words = (stderr or stdout).strip().splitlines()
        super().__init__(host, f"{' '.join(argv)}: exit status {status}: {' | '.join(words[-5:])}")
        self.argv = tuple(argv)
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


class StackError(HostError):
    """libvirt or QEMU refused or broke off a call. `words` are its own."""

    def __init__(self, host: str, what: str, words: str, code: int = 0) -> None:
        super().__init__(host, f"{what}: {words}")
        self.words = words
        self.code = code


class GuestError(TroubleError):
    """A guest cannot be defined, started, or spoken to."""


class InconclusiveError(TroubleError):
    """The experiment did not happen as planned, so nothing was learnt."""


class UnsupportedError(MigqualError):
    """The host lacks a feature and said so. The profile decides whether that is allowed."""


class GuardRefusal(MigqualError):  # noqa: N818 - the field's word
    """The library's own guard refused before anything was touched."""

    def __init__(self, findings: "Sequence[Finding]") -> None:
        super().__init__("; ".join(f"{f.id}: {f.words}" for f in findings))
        self.findings = tuple(findings)


class MigrationError(MigqualError):
    """A migration did not end with the guest running at the destination.

    `words` are the stack's own; `outcome` is the record of what was observed (an `Outcome`).
    """

    def __init__(self, words: str, *, outcome: Any = None, remedy: str = "") -> None:  # noqa: ANN401 - avoids a cycle
        super().__init__(words, remedy=remedy)
        self.words = words
        self.outcome = outcome


class MigrationRefused(MigrationError):  # noqa: N818 - the field's word
    """Refused by libvirt or QEMU before any data moved."""


class MigrationFailed(MigrationError):  # noqa: N818 - the field's word
    """Started, then failed by itself."""


class MigrationTimedOut(MigrationError):  # noqa: N818 - the field's word
    """Not finished in the time that the plan gives; aborted by us."""


class MigrationAborted(MigrationError):  # noqa: N818 - the field's word
    """Cancelled on request."""


class MigrationStuck(MigrationError):  # noqa: N818 - the field's word
    """Did not end although libvirt took the aborts: the stack's fault. It may still go on."""
