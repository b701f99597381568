"""Profiles: what they demand, what they extend, and what is wrong with bad ones."""

from dataclasses import asdict
from pathlib import Path

import pytest

from migqual.errors import InventoryError, UsageError
from migqual.model.profile import Profile, load_profile, profile_names
from migqual.model.record import Demand
from migqual.model.requirement import load_requirements

pytestmark = pytest.mark.selftest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ours.yml"


def faults(file: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        load_profile(file)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("name", profile_names())
def test_each_of_ours_loads(name: str) -> None:
    """Under its own name, demanding something."""
    profile = load_profile(name)

    assert profile.name == name
    assert profile.title
    assert profile.required(load_requirements())


def test_all_four_are_there() -> None:
    """The kinds of host that the suite knows."""
    assert profile_names() == ("lab", "openeuler-22.03", "openeuler-24.03", "upstream")


def test_lab_demands_exactly_what_is_built() -> None:
    """A chapter that gets its tests has to be demanded of the lab from then on, and none before.

    Less what the releases of QEMU and libvirt may lack.
    """
    table = load_requirements()
    built = {id_ for id_, row in table.items() if row.built}
    may_lack = set(table) - set(load_profile("upstream").required(table))

    assert set(load_profile("lab").required(table)) == built - may_lack


@pytest.mark.parametrize("name", ["openeuler-22.03", "openeuler-24.03"])
def test_openeuler_demands_everything(name: str) -> None:
    """Whether its tests exist or not: a row without a result keeps a pair from qualifying."""
    table = load_requirements()

    assert load_profile(name).required(table) == tuple(table)


def test_upstream_may_lack_threaded_compression() -> None:
    """And nothing else."""
    table = load_requirements()
    missing = set(table) - set(load_profile("upstream").required(table))

    assert missing == {f"LM-PAR-0{n}" for n in range(4, 9)}


def test_silence_is_a_demand() -> None:
    """Also for an id that nobody knows."""
    assert Profile("empty").demand("LM-CAP-01") is Demand.REQUIRED


def test_ids_weigh_more_than_patterns(file: Path) -> None:
    """In whichever order they stand."""
    file.write_text(
        "title: x\nrequirements: {LM-TLS-02: required, LM-TLS-*: absent, LM-SHR-*: optional}\n"
    )
    profile = load_profile(file)

    assert profile.demand("LM-TLS-01") is Demand.ABSENT
    assert profile.demand("LM-TLS-02") is Demand.REQUIRED
    assert profile.demand("LM-SHR-05") is Demand.OPTIONAL
    assert profile.demand("LM-CAP-01") is Demand.REQUIRED


def test_extending_takes_in_and_overrules(file: Path) -> None:
    """Demands and thresholds one by one; a profile beside the file goes before one of ours."""
    file.write_text("title: x\nextends: base\nthresholds: {gap_max_ms: 70}\n")
    file.with_name("base.yml").write_text(
        "title: b\nextends: upstream\nrequirements: {LM-PAR-04: absent}\n"
        "thresholds: {gap_max_ms: 60.5, guest_ready_max_s: 7}\n"
    )
    profile = load_profile(str(file))

    assert profile.demand("LM-PAR-04") is Demand.ABSENT
    assert profile.demand("LM-PAR-05") is Demand.OPTIONAL
    assert (profile.thresholds.gap_max_ms, profile.thresholds.guest_ready_max_s) == (70, 7)
    assert profile.thresholds.gap_calibration_error_p95_ms == 5
    assert [file.stem for file in profile.files] == ["upstream", "base", "ours"]


def test_snapshot_is_what_records_keep() -> None:
    """Same name, demands and figures."""
    profile = load_profile("lab")
    kept = profile.snapshot()

    assert kept.name == "lab"
    assert kept.thresholds == asdict(profile.thresholds)
    assert all(kept.demand(id_) is profile.demand(id_) for id_ in load_requirements())


def test_unknown_name_lists_the_known() -> None:
    """An error of use."""
    with pytest.raises(UsageError, match=r"lab, openeuler-22.03, openeuler-24.03, upstream"):
        load_profile("windows")


def test_all_faults_at_once(file: Path) -> None:
    """Unknown ids (with near ones), demands, thresholds, keys."""
    file.write_text(
        "title: x\nfoo: 1\n"
        "requirements:\n  LM-CAP-9: required\n  LM-CAP-01: maybe\n  LM-*: optional\n"
        "thresholds:\n  gap_max_s: 1\n  gap_max_ms: -1\n  guest_ready_max_s: .inf\n"
    )
    found = faults(file)

    assert len(found) == 7
    assert any("LM-CAP-9: no such requirement; did you mean LM-CAP" in fault for fault in found)
    assert "thresholds.gap_max_s: no such threshold (line 8)" in found
    assert "foo: unknown key (line 2)" in found


def test_circles_and_strangers(file: Path) -> None:
    """What is extended must exist and must not lead back."""
    file.write_text("title: x\nextends: other\n")
    assert "no profile 'other'" in faults(file)[0]

    file.with_name("other.yml").write_text("title: y\nextends: ours\n")
    assert "goes in a circle: ours -> other -> ours" in faults(file)[0]


def test_absent_and_empty_files(file: Path) -> None:
    """Are told, too."""
    assert faults(file) == ["file: No such file or directory"]
    file.touch()
    assert faults(file) == ["(top level): empty (line 1)"]
