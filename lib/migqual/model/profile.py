"""Profiles: the required features, the optional features and the thresholds for a kind of host.

A profile is a file in `fixtures/profiles/`. A requirement without an entry is required: a
missing entry never excuses a host. A pair does not qualify without a test of each required
requirement, even if the tests do not exist yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

from migqual import paths
from migqual.errors import InputProblem, UsageError
from migqual.model.record import Demand, ProfileSnapshot
from migqual.model.requirement import load_requirements, suggest_ids
from migqual.yaml_file import (
    StrictModel,
    YamlDocument,
    raise_problems,
    read_yaml_document,
    validate_data,
)

PROFILES_FOLDER = paths.FIXTURES / "profiles"


@dataclass(frozen=True)
class Thresholds:
    """The thresholds for the tests. The names contain the units.

    Attributes:
        gap_max_ms: Longest gap of a guest during a migration, seen by a client.
        tcp_stall_max_ms: Longest stall of an open TCP session during a migration.
        downtime_qemu_max_ms: Downtime reported by QEMU, in a plan without a downtime limit.
        downtime_overshoot_max_ratio: Downtime reported by QEMU / requested downtime limit.
        migration_time_max_s: Time from start to completion, for a converging guest.
        guest_ready_max_s: Time from the definition to the first reply of the guest agent.
        suspend_delay_max_ms: Delay of the suspension of a guest after the `--timeout`.
        bandwidth_tolerance_percent: Accepted throughput above the bandwidth limit.
        dirty_rate_tolerance_percent: Difference between measured dirty rate and the load's
            count.
        prediction_time_error_p90_percent: 90th percentile of the error of the predicted total
            time.
        gap_calibration_error_p95_ms: 95th percentile of the gap meter's error against the
            silence measured on the guest's host. With a larger error, gaps are no evidence.
        job_sample_rate_min_hz: Samples of the job per second. Fewer samples miss peaks.
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
    """A profile, merged with all extended profiles.

    Attributes:
        demands: Demands by requirement id. A requirement without an entry is required.
        files: Source files of the profile, the most general file first.
    """

    name: str
    title: str = ""
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    files: tuple[Path, ...] = ()

    def get_demand(self, requirement_id: str) -> Demand:
        """Return the demand for a requirement.

        REQUIRED must pass. OPTIONAL does not influence the qualification. ABSENT is expected to
        be `unsupported`; a host with the feature may pass all the same.
        """
        return self.demands.get(requirement_id, Demand.REQUIRED)

    def select_required(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Select the ids required for the qualification of a pair, in the given order."""
        return tuple(id_ for id_ in ids if self.get_demand(id_) is Demand.REQUIRED)

    def make_snapshot(self) -> ProfileSnapshot:
        """Make a snapshot of the profile for records."""
        return ProfileSnapshot(self.name, dict(self.demands), asdict(self.thresholds))


def _check_threshold_name(name: str) -> str:
    if name not in {threshold.name for threshold in fields(Thresholds)}:
        raise ValueError("no such threshold")
    return name


def _check_requirement_pattern(pattern: str) -> str:
    requirements = load_requirements()
    if pattern not in requirements and pattern not in {f"{id_[:-2]}*" for id_ in requirements}:
        raise ValueError(f"no such requirement; {suggest_ids(pattern, requirements)}")
    return pattern


RequirementPattern = Annotated[str, AfterValidator(_check_requirement_pattern)]
ThresholdName = Annotated[str, AfterValidator(_check_threshold_name)]
ThresholdValue = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class _ProfileSchema(StrictModel):
    title: str
    extends: str | None = None
    requirements: dict[RequirementPattern, Demand] = Field(default_factory=dict)
    thresholds: dict[ThresholdName, ThresholdValue] = Field(default_factory=dict)


def list_profile_names() -> tuple[str, ...]:
    """List the names of the profiles in the suite."""
    return tuple(sorted(file.stem for file in PROFILES_FOLDER.glob("*.yml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """Load a profile by name, or from a file.

    Args:
        name_or_path: Name of a profile, or path of a file (contains ``/`` or ends with
            ``.yml``).

    Raises:
        UsageError: No profile has the name. The remedy lists the names.
        InventoryError: The file has problems. The error lists all problems.
    """
    return _load_profile_file(_find_profile_file(str(name_or_path)), ())


def _find_profile_file(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".yml"):
        return Path(name_or_path)
    if name_or_path not in list_profile_names():
        raise UsageError(
            f"no profile {name_or_path!r}", remedy=f"profiles: {', '.join(list_profile_names())}"
        )
    return PROFILES_FOLDER / f"{name_or_path}.yml"


def _load_profile_file(file: Path, extending_files: tuple[Path, ...]) -> Profile:
    document = read_yaml_document(file)
    entry, problems = validate_data(_ProfileSchema, document.data, document)
    if entry is None:
        raise_problems(document, [*document.problems, *problems])
        raise UsageError(f"{file}: empty")  # never without a fault
    raise_problems(
        document,
        [*document.problems, *_check_base_profile(entry, document, (*extending_files, file))],
    )
    base_profile = (
        _load_profile_file(_find_base_file(entry.extends, file), (*extending_files, file))
        if entry.extends
        else Profile("")
    )
    return Profile(
        name=file.stem,
        title=entry.title,
        demands=MappingProxyType({**base_profile.demands, **_expand_patterns(entry.requirements)}),
        thresholds=Thresholds(**{**asdict(base_profile.thresholds), **entry.thresholds}),
        files=(*base_profile.files, file),
    )


def _find_base_file(name: str, file: Path) -> Path:
    """Find the extended profile: first in the folder of `file`, then in the suite."""
    sibling_file = file.parent / f"{name}.yml"
    return sibling_file if sibling_file.is_file() else PROFILES_FOLDER / f"{name}.yml"


def _check_base_profile(
    entry: _ProfileSchema, document: YamlDocument, chain: tuple[Path, ...]
) -> list[InputProblem]:
    if entry.extends is None:
        return []
    base_file = _find_base_file(entry.extends, chain[-1])
    if not base_file.is_file():
        message = f"no profile {entry.extends!r}; profiles: {', '.join(list_profile_names())}"
        return [document.make_problem(("extends",), message)]
    if base_file.resolve() in {file.resolve() for file in chain}:
        names = " -> ".join(file.stem for file in (*chain, base_file))
        return [document.make_problem(("extends",), f"circular extension: {names}")]
    return []


def _expand_patterns(demands_by_pattern: Mapping[str, Demand]) -> dict[str, Demand]:
    """Expand patterns to ids. An id takes precedence over a matching pattern ``LM-XXX-*``."""
    demands_by_id: dict[str, Demand] = {}
    for pattern, demand in sorted(demands_by_pattern.items(), key=lambda item: "*" not in item[0]):
        ids = (id_ for id_ in load_requirements() if fnmatchcase(id_, pattern))
        demands_by_id |= dict.fromkeys(ids, demand)
    return demands_by_id
