"""Profiles: what a kind of host must meet, may lack, and with which thresholds.

A profile is a file in `fixtures/profiles/`. What it does not name is required: silence never
excuses a host. A required requirement that nothing was run for keeps a pair from qualifying, also
when its tests do not exist yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

from migqual import places
from migqual.errors import Fault, UsageError
from migqual.model.record import Demand, ProfileSnapshot
from migqual.model.requirement import load_requirements, suggestion
from migqual.model.yamlfile import Document, StrictModel, check, raise_all, read

FOLDER = places.FIXTURES / "profiles"


@dataclass(frozen=True)
class Thresholds:
    """Every figure that a test compares with. Units stand in the names.

    gap_max_ms                       longest silence of a guest that a client may see in a migration
    tcp_stall_max_ms                 longest stall of a TCP session held through a migration
    downtime_qemu_max_ms             downtime as QEMU reports it, where no limit was asked for
    downtime_overshoot_max_ratio     downtime as QEMU reports it / the limit asked for
    migration_time_max_s             start to completed, for a guest that converges
    guest_ready_max_s                define to first answer of the guest agent
    suspend_delay_max_ms             how late a guest may be suspended after its `--timeout`
    bandwidth_tolerance_percent      throughput above the limit that is still obedience
    dirty_rate_tolerance_percent     measured dirty rate against the load's own count
    prediction_time_error_p90_percent  p90 of the error of the predicted total time
    gap_calibration_error_p95_ms     p95 of what the client measured beyond the silence that its
                                     host saw; more, and gaps are no evidence
    job_sample_rate_min_hz           samples per second of the job; fewer, and peaks are missed
    """

    gap_max_ms: float = 1000
    tcp_stall_max_ms: float = 3000
    downtime_qemu_max_ms: float = 500
    downtime_overshoot_max_ratio: float = 2
    migration_time_max_s: float = 300
    guest_ready_max_s: float = 120
    suspend_delay_max_ms: float = 1000
    bandwidth_tolerance_percent: float = 10
    dirty_rate_tolerance_percent: float = 25
    prediction_time_error_p90_percent: float = 15
    gap_calibration_error_p95_ms: float = 5
    job_sample_rate_min_hz: float = 20


@dataclass(frozen=True)
class Profile:
    """A profile with everything that it extends taken in.

    demands  by requirement id; those not in it are required
    files    where it was read from, the most general first
    """

    name: str
    title: str = ""
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    files: tuple[Path, ...] = ()

    def demand(self, requirement: str) -> Demand:
        """What is asked of `requirement` (an id).

        REQUIRED must pass, OPTIONAL decides nothing, ABSENT is expected to be `unsupported`; a host
        that has it all the same may pass it.
        """
        return self.demands.get(requirement, Demand.REQUIRED)

    def required(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of `ids` without which no pair qualifies, in the order given."""
        return tuple(id_ for id_ in ids if self.demand(id_) is Demand.REQUIRED)

    def snapshot(self) -> ProfileSnapshot:
        """As records keep it."""
        return ProfileSnapshot(self.name, dict(self.demands), asdict(self.thresholds))


def _threshold(name: str) -> str:
    if name not in {known.name for known in fields(Thresholds)}:
        raise ValueError("no such threshold")
    return name


def _pattern(pattern: str) -> str:
    known = load_requirements()
    if pattern not in known and pattern not in {f"{id_[:-2]}*" for id_ in known}:
        raise ValueError(f"no such requirement; {suggestion(pattern, known)}")
    return pattern


Pattern = Annotated[str, AfterValidator(_pattern)]
ThresholdName = Annotated[str, AfterValidator(_threshold)]
Figure = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class _ProfileEntry(StrictModel):
    title: str
    extends: str | None = None
    requirements: dict[Pattern, Demand] = Field(default_factory=dict)
    thresholds: dict[ThresholdName, Figure] = Field(default_factory=dict)


def profile_names() -> tuple[str, ...]:
    """Names of the profiles that come with the suite."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """A profile by its name, or from the file at a path (one with ``/`` or ending in ``.yml``).

    Raises `UsageError` naming those that there are for an unknown name, `InventoryError` with every
    fault of a file that cannot be used.
    """
    return _load(_file(str(name_or_path)), ())


def _file(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".yml"):
        return Path(name_or_path)
    if name_or_path not in profile_names():
        raise UsageError(
            f"no profile {name_or_path!r}", remedy=f"profiles: {', '.join(profile_names())}"
        )
    return FOLDER / f"{name_or_path}.yml"


def _load(file: Path, below: tuple[Path, ...]) -> Profile:
    document = read(file)
    entry, faults = check(_ProfileEntry, document.data, document)
    if entry is None:
        raise_all(document, [*document.faults, *faults])
        raise UsageError(f"{file}: empty")  # never without a fault
    raise_all(document, [*document.faults, *_extends(entry, document, (*below, file))])
    base = _load(_base(entry.extends, file), (*below, file)) if entry.extends else Profile("")
    return Profile(
        name=file.stem,
        title=entry.title,
        demands=MappingProxyType({**base.demands, **_expanded(entry.requirements)}),
        thresholds=Thresholds(**{**asdict(base.thresholds), **entry.thresholds}),
        files=(*base.files, file),
    )


def _base(name: str, file: Path) -> Path:
    """A profile extends one that lies beside it, or one of ours."""
    beside = file.parent / f"{name}.yml"
    return beside if beside.is_file() else FOLDER / f"{name}.yml"


def _extends(entry: _ProfileEntry, document: Document, chain: tuple[Path, ...]) -> list[Fault]:
    if entry.extends is None:
        return []
    base = _base(entry.extends, chain[-1])
    if not base.is_file():
        words = f"no profile {entry.extends!r}; there are {', '.join(profile_names())}"
        return [document.fault(("extends",), words)]
    if base.resolve() in {file.resolve() for file in chain}:
        names = " -> ".join(file.stem for file in (*chain, base))
        return [document.fault(("extends",), f"goes in a circle: {names}")]
    return []


def _expanded(demands: Mapping[str, Demand]) -> dict[str, Demand]:
    """Demands by id. An id weighs more than the ``LM-XXX-*`` that covers it."""
    found: dict[str, Demand] = {}
    for pattern, demand in sorted(demands.items(), key=lambda item: "*" not in item[0]):
        ids = (id_ for id_ in load_requirements() if fnmatchcase(id_, pattern))
        found |= dict.fromkeys(ids, demand)
    return found
