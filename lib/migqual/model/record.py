"""The records of a run and of the tests in the run. Reports have no other input.

A record file is a JSON object: `{"format": RECORD_FORMAT, "kind": "run" | "test", ...fields}`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from migqual.errors import UsageError
from migqual.model.json_codec import decode_json_value, encode_json_value
from migqual.model.stack_message import StackMessage
from migqual.model.verdict import Verdict

RECORD_FORMAT = 7
# In `RunRecord.environment`, this text and the name of a host are the key of facts about guests.
GUESTS_FACT = "guests on "


class RunTier(StrEnum):
    """Kind of the hosts of a run: hosts of a lab, or real machines."""

    LAB = "lab"
    REAL = "real"


class Demand(StrEnum):
    """Demand of a profile for a requirement.

    Attributes:
        REQUIRED: The requirement must pass.
        OPTIONAL: The requirement does not decide whether a pair qualifies.
        ABSENT: The same effect as OPTIONAL. The profile states that the hosts are not expected to
            have the feature, so the expected verdict is `unsupported`.
    """

    REQUIRED = "required"
    OPTIONAL = "optional"
    ABSENT = "absent"


@dataclass(frozen=True)
class PairName:
    """A pair of hosts, identified by the host names.

    Attributes:
        stack: Versions of libvirt and QEMU, if a report contains several runs of the pair with
            different versions. Otherwise the text is empty.
    """

    source: str
    destination: str
    stack: str = ""

    @property
    def id(self) -> str:
        """Return the pair id ``SOURCE-DESTINATION``, with `stack` in parentheses if not empty."""
        return f"{self.source}-{self.destination}{self.suffix}"

    @property
    def suffix(self) -> str:
        """Return `stack` in parentheses after a space, or an empty text if `stack` is empty."""
        return f" ({self.stack})" if self.stack else ""


@dataclass(frozen=True)
class RequirementSummary:
    """Title and chapter of a requirement, as printed in reports."""

    title: str
    chapter: str


@dataclass(frozen=True)
class ProfileSnapshot:
    """A profile as used in a run. A requirement without an entry in `demands` is required."""

    name: str
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def get_demand(self, requirement_id: str) -> Demand:
        """Return the demand for a requirement, or REQUIRED if the profile has no entry."""
        return self.demands.get(requirement_id, Demand.REQUIRED)


@dataclass(frozen=True)
class RunRecord:
    """The record of a run. Times are ISO 8601 in UTC.

    Attributes:
        finished: Time of the end. None means that the run has not ended.
        expected_acceleration: Acceleration that the inventory expects. Empty means that the
            inventory permits every acceleration.
        left_out: Node ids of the tests that an argument of pytest, for example `-k`, left out of
            the run. The ids do not contain the pair. An id without parameters means all tests of
            the function. A pair cannot qualify while the results of these tests are missing. Other
            runs in the same report can add the results.
        environment: Versions and properties of hosts and programs, for example
            `{"host a1": {"qemu": "7.2.15", ...}, ...}`.
    """

    id: str
    started: str
    finished: str | None
    profile: ProfileSnapshot
    tier: RunTier
    version: str
    pairs: tuple[PairName, ...]
    requirements: Mapping[str, RequirementSummary]
    environment: Mapping[str, Any] = field(default_factory=dict)
    expected_acceleration: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def observed_accelerations(self) -> tuple[str, ...]:
        """Return the accelerations that the guests used, sorted; empty if no guest started."""
        return tuple(
            sorted(
                {
                    str(facts.get("acceleration", "not known"))
                    for name, facts in self.environment.items()
                    if name.startswith(GUESTS_FACT) and isinstance(facts, Mapping)
                }
            )
        )

    @property
    def observed_acceleration(self) -> str:
        """Return the accelerations that the guests used, as text for a report."""
        return ", ".join(self.observed_accelerations) or "not observed"


@dataclass(frozen=True)
class FaultRecord:
    """A fault that a test injected into a migration.

    Attributes:
        phase: Phase of the migration just before the fault, a value of `MigrationPhase`.
    """

    name: str
    phase: str


class CommandAnswer(StrEnum):
    """Answer of libvirt to a command for a migrating guest."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    MISSING = "no answer"


@dataclass(frozen=True)
class CommandRecord:
    """A command that an operator gave for a guest while the guest migrated.

    Attributes:
        command: Name of the virsh command.
        role: Host that got the command, `source` or `destination`.
        message: Message of libvirt; empty without a message.
    """

    command: str
    role: str
    answer: CommandAnswer
    message: str = ""


@dataclass(frozen=True)
class MigrationRecord:
    """The record of a migration in a test.

    Attributes:
        plan: Settings of the plan that differ from the default, by name.
        virsh: The virsh command that starts the same migration by hand.
        metrics: Figures by name, e.g. `downtime_qemu_ms`. None means that the figure was not
            measured.
        status: Status with which the migration ended, a value of `MigrationStatus`.
        error: Error message of libvirt or QEMU. Empty means that the migration completed.
        faults: The faults that the test injected into the migration, oldest first.
    """

    plan: Mapping[str, Any]
    virsh: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    status: str = "completed"
    error: str = ""
    faults: tuple[FaultRecord, ...] = ()


@dataclass(frozen=True)
class PhaseSeconds:
    """Seconds of each phase of a test. None means that the phase did not start."""

    setup: float | None = None
    call: float | None = None
    teardown: float | None = None

    @property
    def seconds(self) -> float:
        """Return the total seconds of the set-up, the call and the tear-down of the test."""
        return sum(
            phase_seconds
            for phase_seconds in (self.setup, self.call, self.teardown)
            if phase_seconds is not None
        )


@dataclass(frozen=True)
class Attachment:
    """A file that explains the verdict of a test, for example a log.

    Attributes:
        path: Path relative to the output folder, the parent of the records folder.
    """

    name: str
    mime: str
    path: str


@dataclass(frozen=True)
class TestRecord:
    """The record of a test on a pair.

    Attributes:
        run: Id of the run.
        id: pytest's node id of the test, without the pair.
        doc: Docstring of the test without the first line. The first line is the title.
        pair: The pair. None means that the pair is not known. A record without a pair counts for
            every pair of the run.
        steps: Seconds of each step, by name. The time outside of all steps belongs to the test
            function.
        beyond_requirement: True if the test shows more than its requirement states (marker
            `beyond_requirement`). If the requirement has other tests, the verdict `unsupported` of
            this test does not count.
        stack_messages: Messages of libvirt and QEMU about refusals that the test provoked.
        commands: Commands for a migrating guest, with the answers of libvirt.
    """

    __test__ = False  # keeps pytest from collecting the class because of its name

    run: str
    id: str
    title: str
    doc: str
    chapter: str
    requirements: tuple[str, ...]
    pair: PairName | None
    verdict: Verdict
    reason: str = ""
    started: str | None = None
    seconds: float = 0.0
    phases: PhaseSeconds = PhaseSeconds()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    migrations: tuple[MigrationRecord, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    beyond_requirement: bool = False
    stack_messages: tuple[StackMessage, ...] = ()
    commands: tuple[CommandRecord, ...] = ()

    @property
    def unknown_messages(self) -> tuple[StackMessage, ...]:
        """Return the messages of libvirt and QEMU that `fixtures/stack_messages.yml` lacks."""
        return tuple(message for message in self.stack_messages if not message.is_known)

    def replace_verdict(self, verdict: Verdict, reason: str) -> "TestRecord":
        """Return a copy of the record with another verdict and reason."""
        return replace(self, verdict=verdict, reason=reason)


RECORD_TYPES: Mapping[str, type[RunRecord | TestRecord]] = {"run": RunRecord, "test": TestRecord}
Record = TypeVar("Record", RunRecord, TestRecord)


def render_record(record: RunRecord | TestRecord) -> str:
    """Render `record` as the JSON text of a record file."""
    kind = next(name for name, cls in RECORD_TYPES.items() if isinstance(record, cls))
    return (
        json.dumps({"format": RECORD_FORMAT, "kind": kind} | encode_json_value(record), indent=1)
        + "\n"
    )


def parse_record(record_type: type[Record], text: str, *, file: str) -> Record:
    """Parse a record from the text of a record file.

    Args:
        record_type: Type of the expected record.
        text: Content of the file.
        file: Name of the file for the error message.

    Raises:
        UsageError: The text is not a complete record of type `record_type` in the current
            format. The message names the file.
    """
    try:
        return decode_json_value(record_type, _extract_fields(json.loads(text), record_type))
    except ValueError as error:
        raise UsageError(
            f"{file}: not a complete {record_type.__name__} of format {RECORD_FORMAT}: {error}",
            remedy="copy the file again from the controller of the run, or omit this run",
        ) from error


def _extract_fields(data: object, record_type: type[RunRecord | TestRecord]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one kind of error
    if data.get("format") != RECORD_FORMAT:
        raise ValueError(f"format is {data.get('format')!r}, not {RECORD_FORMAT}")
    if RECORD_TYPES.get(str(data.get("kind"))) is not record_type:
        raise ValueError(f"the kind {data.get('kind')!r} does not belong to this type of record")
    return {key: value for key, value in data.items() if key not in {"format", "kind"}}
