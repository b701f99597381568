"""Tests of profiles: demands, thresholds, `extends`, and the problems of bad profile files."""

from dataclasses import asdict
from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.model.profile import Profile, list_profile_names, load_profile
from migqual.model.record import Demand
from migqual.model.requirement import load_requirements
from suites.selftest.support.input_problems import list_input_problems

pytestmark = pytest.mark.selftest


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    return tmp_path / "ours.yml"


@pytest.mark.parametrize("name", list_profile_names())
def test_every_supplied_profile_loads(name: str) -> None:
    """Each profile of migqual loads by its name and requires at least one requirement."""
    profile = load_profile(name)

    assert profile.name == name
    assert profile.title
    assert profile.select_required(load_requirements())


def test_names_of_supplied_profiles() -> None:
    """migqual contains exactly four profiles, for the four supported kinds of host."""
    assert list_profile_names() == ("lab", "openeuler-22.03", "openeuler-24.03", "upstream")


def test_lab_profile_requires_all_requirements_with_tests() -> None:
    """
    The lab profile requires each requirement that has tests and is required in `upstream`.

    A requirement is optional in `upstream` if some releases of QEMU or libvirt lack the feature.
    """
    requirements = load_requirements()
    tested_ids = {id_ for id_, requirement in requirements.items() if requirement.has_tests}
    optional_ids = set(requirements) - set(load_profile("upstream").select_required(requirements))

    assert set(load_profile("lab").select_required(requirements)) == tested_ids - optional_ids


@pytest.mark.parametrize("name", ["openeuler-22.03", "openeuler-24.03"])
def test_openeuler_profiles_require_all_requirements(name: str) -> None:
    """
    The openEuler profiles require every requirement, also a requirement without tests.

    If a requirement has no result, the pair does not qualify.
    """
    requirements = load_requirements()

    assert load_profile(name).select_required(requirements) == tuple(requirements)


def test_upstream_profile_requires_all_but_compression_threads() -> None:
    """The `upstream` profile requires all requirements except LM-PAR-04 to LM-PAR-08."""
    requirements = load_requirements()
    optional_ids = set(requirements) - set(load_profile("upstream").select_required(requirements))

    assert optional_ids == {f"LM-PAR-0{n}" for n in range(4, 9)}


def test_requirement_without_entry_is_required() -> None:
    """If a profile has no entry for the id of a requirement, the requirement is required."""
    assert Profile("empty").get_demand("LM-CAP-01") is Demand.REQUIRED


def test_ids_override_patterns(profile_file: Path) -> None:
    """
    In a profile, an entry for a requirement id overrides an entry for a pattern of ids.

    Preconditions: the entry for LM-TLS-02 is `required`. A later entry for the pattern LM-TLS-* is
    `absent`.
    Expected: LM-TLS-02 is required. LM-TLS-01, which has no entry of its own, is absent.
    """
    profile_file.write_text(
        "title: x\nrequirements: {LM-TLS-02: required, LM-TLS-*: absent, LM-SHR-*: optional}\n"
    )
    profile = load_profile(profile_file)

    assert profile.get_demand("LM-TLS-01") is Demand.ABSENT
    assert profile.get_demand("LM-TLS-02") is Demand.REQUIRED
    assert profile.get_demand("LM-SHR-05") is Demand.OPTIONAL
    assert profile.get_demand("LM-CAP-01") is Demand.REQUIRED


def test_extends_inherits_and_overrides(profile_file: Path) -> None:
    """
    A profile inherits the demands and thresholds of its base profile, and overrides single values.

    Preconditions: `extends` names the base profile, which is in the same folder. The base profile
    extends `upstream`, a profile of migqual.
    """
    profile_file.write_text("title: x\nextends: base\nthresholds: {gap_max_ms: 70}\n")
    profile_file.with_name("base.yml").write_text(
        "title: b\nextends: upstream\nrequirements: {LM-PAR-04: absent}\n"
        "thresholds: {gap_max_ms: 60.5, guest_ready_max_s: 7}\n"
    )
    profile = load_profile(str(profile_file))

    assert profile.get_demand("LM-PAR-04") is Demand.ABSENT
    assert profile.get_demand("LM-PAR-05") is Demand.OPTIONAL
    assert (profile.thresholds.gap_max_ms, profile.thresholds.guest_ready_max_s) == (70, 7)
    assert profile.thresholds.gap_calibration_error_p95_ms == 5
    assert [profile_file.stem for profile_file in profile.files] == ["upstream", "base", "ours"]


def test_snapshot_has_name_demands_and_thresholds() -> None:
    """
    The copy of a profile in the record of a run has the profile's name, demands and thresholds.
    """
    profile = load_profile("lab")
    snapshot = profile.make_snapshot()

    assert snapshot.name == "lab"
    assert snapshot.thresholds == asdict(profile.thresholds)
    assert all(snapshot.get_demand(id_) is profile.get_demand(id_) for id_ in load_requirements())


def test_unknown_profile_name_lists_all_profiles() -> None:
    """An unknown profile name is a usage error; the message lists all profile names."""
    with pytest.raises(UsageError, match=r"lab, openeuler-22.03, openeuler-24.03, upstream"):
        load_profile("windows")


def test_all_problems_are_reported_at_once(profile_file: Path) -> None:
    """
    All problems of a profile file are reported together.

    Expected: unknown requirement ids, unknown thresholds and unknown keys are reported, and so are
    invalid values. For an unknown requirement id, the message suggests similar ids.
    """
    profile_file.write_text(
        "title: x\nfoo: 1\n"
        "requirements:\n  LM-CAP-9: required\n  LM-CAP-01: maybe\n  LM-*: optional\n"
        "thresholds:\n  gap_max_s: 1\n  gap_max_ms: -1\n  guest_ready_max_s: .inf\n"
    )
    problems = list_input_problems(load_profile, profile_file)

    assert len(problems) == 7
    assert any(
        "LM-CAP-9: 'LM-CAP-9' is no requirement; did you mean LM-CAP" in problem
        for problem in problems
    )
    assert any(
        problem.startswith("thresholds.gap_max_s: the threshold 'gap_max_s' does not exist")
        for problem in problems
    )
    assert "foo: unknown key (line 2)" in problems


def test_missing_and_circular_base_profiles(profile_file: Path) -> None:
    """The base profile must exist, and base profiles must not form a cycle."""
    profile_file.write_text("title: x\nextends: other\n")
    assert "no profile 'other'" in list_input_problems(load_profile, profile_file)[0]

    profile_file.with_name("other.yml").write_text("title: y\nextends: ours\n")
    assert (
        "the profiles extend each other in a cycle: ours -> other -> ours"
        in list_input_problems(load_profile, profile_file)[0]
    )


def test_missing_and_empty_profile_files(profile_file: Path) -> None:
    """A missing file and an empty file are reported as problems."""
    assert list_input_problems(load_profile, profile_file) == ["file: No such file or directory"]
    profile_file.touch()
    assert list_input_problems(load_profile, profile_file) == ["(top level): empty (line 1)"]
