"""Load profiles, the files that state what a run demands of one kind of hosts.

A profile is a file in `fixtures/profiles/`. The profile contains the demand for each requirement
(required, optional or absent), and the thresholds of the tests. A requirement without an entry in
the profile is required. A pair does not qualify if a required requirement was not tested, even if
the requirement has no tests yet.
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
from migqual.inventory.entities import Tier
from migqual.inventory.guest_size import (
    GuestSize,
    GuestSizes,
    find_image_problems,
    resolve_images,
)
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
    """The limits with which tests compare figures. The names contain the units.

    Attributes:
        gap_max_ms: Longest time without a reply of the guest to the client during a migration.
        tcp_stall_max_ms: Longest stall of an open TCP session during a migration.
        downtime_qemu_max_ms: Largest downtime that QEMU may report if the plan sets no downtime
            limit.
        downtime_overshoot_max_ratio: Largest ratio of the reported downtime to the downtime limit.
        migration_time_max_s: Longest time from the start to the completion of a migration that
            converges.
        guest_ready_max_s: Longest time from the definition of a guest to the first reply of the
            guest agent.
        suspend_delay_max_ms: Longest delay between the timeout of the plan and the suspension of
            the guest.
        bandwidth_tolerance_percent: How far the throughput may exceed the bandwidth limit. For
            example, 10 permits 110 MiB/s if the limit is 100 MiB/s.
        dirty_rate_tolerance_percent: Largest difference between the measured dirty rate and the
            dirty rate that the guest load counted, in percent of the counted rate.
        prediction_time_error_p90_percent: Limit for the 90th percentile of the error of the
            predicted total time.
        gap_calibration_error_p95_ms: Limit for the 95th percentile of the error with which the
            client measures a gap. Above the limit, measured gaps are no evidence.
        job_sample_rate_min_hz: Smallest number of job samples per second.
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
    """The demands and thresholds of a profile.

    If the profile file extends other profile files, the values of all files are merged.

    Attributes:
        demands: Demands by requirement id. A requirement without an entry is required.
        guests: Sizes of the guests that a run must test.
        files: Files from which the profile was merged. The file of the profile itself comes last.
    """

    name: str
    title: str = ""
    demands: Mapping[str, Demand] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    guests: tuple[GuestSize, ...] = ()
    files: tuple[Path, ...] = ()

    def get_demand(self, requirement_id: str) -> Demand:
        """Return the demand for a requirement, or REQUIRED if the profile has no entry."""
        return self.demands.get(requirement_id, Demand.REQUIRED)

    def select_required(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Select from `ids` the requirements with the demand REQUIRED, in the given order."""
        return tuple(id_ for id_ in ids if self.get_demand(id_) is Demand.REQUIRED)

    def make_snapshot(self) -> ProfileSnapshot:
        """Copy name, demands and thresholds of the profile for the record of a run."""
        return ProfileSnapshot(self.name, dict(self.demands), asdict(self.thresholds))


def _check_threshold_name(name: str) -> str:
    if name not in {threshold.name for threshold in fields(Thresholds)}:
        raise ValueError(
            f"the threshold {name!r} does not exist; docs/inventory.md lists all thresholds"
        )
    return name


def _check_requirement_pattern(pattern: str) -> str:
    requirements = load_requirements()
    if pattern not in requirements and pattern not in {f"{id_[:-2]}*" for id_ in requirements}:
        raise ValueError(f"{pattern!r} is no requirement; {suggest_ids(pattern, requirements)}")
    return pattern


RequirementPattern = Annotated[str, AfterValidator(_check_requirement_pattern)]
ThresholdName = Annotated[str, AfterValidator(_check_threshold_name)]
ThresholdValue = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class _ProfileSchema(StrictModel):
    title: str
    extends: str | None = None
    requirements: dict[RequirementPattern, Demand] = Field(default_factory=dict)
    thresholds: dict[ThresholdName, ThresholdValue] = Field(default_factory=dict)
    guests: GuestSizes = ()


def list_profile_names() -> tuple[str, ...]:
    """List the names of the profiles in `fixtures/profiles`, sorted."""
    return tuple(sorted(file.stem for file in PROFILES_FOLDER.glob("*.yml")))


def choose_profile_name(requested_name: str | Path | None, tier: Tier | None) -> str | Path:
    """Return the requested profile, or the default profile if the user requested none.

    The default for real hosts is `upstream`. The default for a lab, or without an inventory, is
    `lab`.

    Args:
        requested_name: Name or path that the user gave.
        tier: Tier of the inventory. None means that no inventory was given.
    """
    return requested_name or ("upstream" if tier is Tier.REAL else "lab")


def load_profile(name_or_path: str | Path) -> Profile:
    """Load a profile by name, or from a file.

    Args:
        name_or_path: Name of a profile, or path of a file (contains ``/`` or ends with
            ``.yml``).

    Raises:
        UsageError: No profile has the name. The remedy lists the names of all profiles.
        InventoryError: The file has problems. The error lists all problems.
    """
    return _load_profile_file(_find_profile_file(str(name_or_path)), ())


def _find_profile_file(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith(".yml"):
        return Path(name_or_path)
    if name_or_path not in list_profile_names():
        raise UsageError(
            f"no profile {name_or_path!r}",
            remedy=f"give the path of a file, or use one of {', '.join(list_profile_names())}",
        )
    return PROFILES_FOLDER / f"{name_or_path}.yml"


def _load_profile_file(file: Path, extending_files: tuple[Path, ...]) -> Profile:
    document = read_yaml_document(file)
    entry, problems = validate_data(_ProfileSchema, document.data, document)
    if entry is None:
        raise_problems(document, [*document.problems, *problems])
        raise UsageError(f"{file}: empty")  # only for the type checker; never happens
    raise_problems(
        document,
        [
            *document.problems,
            *_check_base_profile(entry, document, (*extending_files, file)),
            *(
                document.make_problem(("guests", index, "image"), message)
                for index, message in find_image_problems(entry.guests, file.absolute().parent)
            ),
        ],
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
        guests=resolve_images(entry.guests, file.absolute().parent) or base_profile.guests,
        files=(*base_profile.files, file),
    )


def _find_base_file(name: str, file: Path) -> Path:
    """Return the path of the profile `name`, next to `file` or else in `fixtures/profiles`."""
    sibling_file = file.parent / f"{name}.yml"
    return sibling_file if sibling_file.is_file() else PROFILES_FOLDER / f"{name}.yml"


def _check_base_profile(
    entry: _ProfileSchema, document: YamlDocument, chain: tuple[Path, ...]
) -> list[InputProblem]:
    if entry.extends is None:
        return []
    base_file = _find_base_file(entry.extends, chain[-1])
    if not base_file.is_file():
        message = f"no profile {entry.extends!r}; use one of {', '.join(list_profile_names())}"
        return [document.make_problem(("extends",), message)]
    if base_file.resolve() in {file.resolve() for file in chain}:
        names = " -> ".join(file.stem for file in (*chain, base_file))
        return [
            document.make_problem(
                ("extends",), f"the profiles extend each other in a cycle: {names}"
            )
        ]
    return []


def _expand_patterns(demands_by_pattern: Mapping[str, Demand]) -> dict[str, Demand]:
    """Return the demand by requirement id. An entry for an id overrides a pattern ``LM-XXX-*``."""
    demands_by_id: dict[str, Demand] = {}
    for pattern, demand in sorted(demands_by_pattern.items(), key=lambda item: "*" not in item[0]):
        ids = (id_ for id_ in load_requirements() if fnmatchcase(id_, pattern))
        demands_by_id |= dict.fromkeys(ids, demand)
    return demands_by_id
