"""Records of a run and of the tests in the run: the only input of reports.

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

RECORD_FORMAT = 5


class RunTier(StrEnum):
    """Origin of the hosts of a run: the embedded lab or real machines."""

    LAB = "lab"
    REAL = "real"


class Demand(StrEnum):
    """Demand of a profile for a requirement."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    ABSENT = "absent"


@dataclass(frozen=True)
class PairName:
    """A pair of hosts, identified by the host names."""

    source: str
    destination: str

    @property
    def id(self) -> str:
        """Return the pair id, ``SOURCE-DESTINATION``."""
        return f"{self.source}-{self.destination}"


@dataclass(frozen=True)
class RequirementSummary:
    """The part of a requirement printed in reports."""

    title: str
    chapter: str


@dataclass(frozen=True)
class ProfileSnapshot:
    """A profile as used in a run. A requirement without an entry in `demands` is required."""

    name: str
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def get_demand(self, requirement_id: str) -> Demand:
        """Return the demand for a requirement; the default is REQUIRED."""
        return self.demands.get(requirement_id, Demand.REQUIRED)


@dataclass(frozen=True)
class RunRecord:
    """A run of the suite. Times are ISO 8601 in UTC.

    Attributes:
        finished: Time of the end; None until the run ends.
        environment: Provenance in free form: `{"host a1": {"qemu": "7.2.15", ...}, ...}`.
    """

    id: str
    started: str
    finished: str | None
    profile: ProfileSnapshot
    tier: RunTier
    acceleration: str
    version: str
    pairs: tuple[PairName, ...]
    requirements: Mapping[str, RequirementSummary]
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MigrationRecord:
    """A migration of a test.

    Attributes:
        plan: Plan options with non-default values, as plain data.
        virsh: Equivalent virsh command, to repeat the migration by hand.
        metrics: Figures with the unit in the name (`downtime_qemu_ms`); None where not
            measured.
        status: End of the migration, a value of `MigrationStatus`.
        error: Message of the stack when the migration did not complete, else empty.
    """

    plan: Mapping[str, Any]
    virsh: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    status: str = "completed"
    error: str = ""


@dataclass(frozen=True)
class PhaseSeconds:
    """Seconds in each phase of a test; None for a phase without a start."""

    setup: float | None = None
    call: float | None = None
    teardown: float | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds of all phases together."""
        return sum(
            phase_seconds
            for phase_seconds in (self.setup, self.call, self.teardown)
            if phase_seconds is not None
        )


@dataclass(frozen=True)
class Attachment:
    """A file of evidence.

    Attributes:
        path: Path relative to the parent folder of the records folder.
    """

    name: str
    mime: str
    path: str


@dataclass(frozen=True)
class TestRecord:
    """A test on a pair.

    Attributes:
        run: Id of the run.
        id: Node id without the pair.
        doc: Docstring of the test without the first line. The first line is the title.
        pair: None until the pair is known. A record without a pair counts for every pair of the
            run.
        steps: Seconds of each timed step. The remaining seconds belong to the test body.
        beyond_requirement: True when the test shows more than the requirements state. A missing
            feature does not count against the host.
        stack_messages: Messages of libvirt and QEMU about refusals that the test provoked.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

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

    @property
    def unknown_messages(self) -> tuple[StackMessage, ...]:
        """Return the messages of the stack that the table of known messages does not have."""
        return tuple(message for message in self.stack_messages if not message.is_known)

    def replace_verdict(self, verdict: Verdict, reason: str) -> "TestRecord":
        """Return a copy of the record with another verdict and reason."""
        return replace(self, verdict=verdict, reason=reason)


RECORD_TYPES: Mapping[str, type[RunRecord | TestRecord]] = {"run": RunRecord, "test": TestRecord}
Record = TypeVar("Record", RunRecord, TestRecord)


def render_record(record: RunRecord | TestRecord) -> str:
    """Render the text of a record file."""
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
        UsageError: The text is no complete record of the type and format. The message names the
            file.
    """
    try:
        return decode_json_value(record_type, _extract_fields(json.loads(text), record_type))
    except ValueError as error:
        raise UsageError(
            f"{file}: not a complete {record_type.__name__} of format {RECORD_FORMAT}: {error}",
            remedy="copy the file again from the machine that wrote it, or leave out its run",
        ) from error


def _extract_fields(data: object, record_type: type[RunRecord | TestRecord]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one kind of error
    if data.get("format") != RECORD_FORMAT:
        raise ValueError(f"format is {data.get('format')!r}, not {RECORD_FORMAT}")
    if RECORD_TYPES.get(str(data.get("kind"))) is not record_type:
        raise ValueError(f"kind: {data.get('kind')!r} is not the expected kind of record")
    return {key: value for key, value in data.items() if key not in {"format", "kind"}}
