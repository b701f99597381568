"""What a run and each of its tests leave behind: the only input of reports.

A record file is one JSON object: `{"format": 1, "kind": "run" | "test", ...the fields below}`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from migqual.errors import UsageError
from migqual.model.decode import decode, encode
from migqual.model.verdict import Verdict

FORMAT = 3


class Tier(StrEnum):
    """Where the hosts of a run come from."""

    LAB = "lab"
    REAL = "real"


class Demand(StrEnum):
    """What a profile asks of a requirement."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    ABSENT = "absent"


@dataclass(frozen=True)
class PairName:
    """A pair of hosts, by name."""

    source: str
    destination: str

    @property
    def id(self) -> str:
        return f"{self.source}-{self.destination}"


@dataclass(frozen=True)
class RequirementName:
    """As much of a requirement as a report prints."""

    title: str
    chapter: str


@dataclass(frozen=True)
class ProfileSnapshot:
    """A profile as it was in force. A requirement that `demands` does not name is required."""

    name: str
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Mapping[str, Any] = field(default_factory=dict)

    def demand(self, requirement: str) -> Demand:
        return self.demands.get(requirement, Demand.REQUIRED)


@dataclass(frozen=True)
class RunRecord:
    """One run. Times are ISO 8601 in UTC; `finished` is None until the run has come to its end.

    environment  provenance, free: `{"host a1": {"qemu": "7.2.15", ...}, ...}`
    """

    id: str
    started: str
    finished: str | None
    profile: ProfileSnapshot
    tier: Tier
    acceleration: str
    version: str
    pairs: tuple[PairName, ...]
    requirements: Mapping[str, RequirementName]
    environment: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MigrationRecord:
    """One migration of a test.

    plan     the plan's choices, as plain data
    virsh    the equivalent command, to repeat it by hand
    metrics  figures with their unit in the name (`downtime_qemu_ms`); None where not measured
    outcome  one word: how it ended
    error    the stack's words when it did not end as a completed migration, else empty
    """

    plan: Mapping[str, Any]
    virsh: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    outcome: str = "completed"
    error: str = ""


@dataclass(frozen=True)
class Phases:
    """Seconds spent in each phase of a test; None for a phase that was not entered."""

    setup: float | None = None
    call: float | None = None
    teardown: float | None = None

    @property
    def seconds(self) -> float:
        return sum(part for part in (self.setup, self.call, self.teardown) if part is not None)


@dataclass(frozen=True)
class Attachment:
    """A file of evidence; `path` is relative to the folder that holds the records' folder."""

    name: str
    mime: str
    path: str


@dataclass(frozen=True)
class TestRecord:
    """One test on one pair.

    run    id of the run that it belongs to
    id     node id without the pair
    pair   None while it is not known; such a record speaks about every pair of its run
    doc    the docstring without its first line, which is the title
    steps  seconds of each timed step of the test; what they leave over is the test's own
    extra  shows more than its requirements state: a host that lacks it is no worse for that
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
    phases: Phases = Phases()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    migrations: tuple[MigrationRecord, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)
    extra: bool = False

    def judged(self, verdict: Verdict, reason: str) -> "TestRecord":
        """The same test with another verdict."""
        return replace(self, verdict=verdict, reason=reason)


KINDS: Mapping[str, type[RunRecord | TestRecord]] = {"run": RunRecord, "test": TestRecord}
Record = TypeVar("Record", RunRecord, TestRecord)


def to_json(record: RunRecord | TestRecord) -> str:
    """The text of a record file."""
    kind = next(name for name, cls in KINDS.items() if isinstance(record, cls))
    return json.dumps({"format": FORMAT, "kind": kind} | encode(record), indent=1) + "\n"


def from_json(kind: type[Record], text: str, *, file: str) -> Record:
    """The record that `text`, the contents of `file`, holds.

    Raises `UsageError` naming the file when it is not a whole record of this kind and format.
    """
    try:
        return decode(kind, _body(json.loads(text), kind))
    except ValueError as error:
        raise UsageError(
            f"{file}: not a whole {kind.__name__} of format {FORMAT}: {error}",
            remedy="copy the file again from the machine that made it, or leave its run out",
        ) from error


def _body(data: object, kind: type[RunRecord | TestRecord]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers catch one kind of error
    if data.get("format") != FORMAT:
        raise ValueError(f"format: {data.get('format')!r} is not {FORMAT}")
    if KINDS.get(str(data.get("kind"))) is not kind:
        raise ValueError(f"kind: {data.get('kind')!r} is another kind of record")
    return {key: value for key, value in data.items() if key not in {"format", "kind"}}
