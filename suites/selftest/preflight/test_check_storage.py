"""The checks of disk location, reachability, free space and libvirt's safety report bad facts."""

import pytest

from migqual.model.finding import Severity
from migqual.model.plan import Plan, Safety, StorageCopy
from migqual.preflight.storage_facts import CopySpace, DiskLocation, FileSystem
from suites.selftest.support.fact_changes import (
    UNKNOWN_FACT,
    FactChange,
    assert_check_fires,
    change_facts,
    combine_changes,
    evaluate_changed_facts,
    make_disk_local,
    place_disk_on,
)
from suites.selftest.support.preflight_facts import make_disk_fact

pytestmark = pytest.mark.selftest

EXT4 = FileSystem(0xEF53, "ext2/ext3")
FIRING_CASES = [
    (
        "LM-PRE-02.storage",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.UNREACHABLE),)),
        Severity.REFUSED,
    ),
    ("LM-PRE-02.storage", make_disk_local(), Severity.REFUSED),
    (
        "LM-PRE-02.storage",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.AMBIGUOUS),)),
        Severity.UNKNOWN,
    ),
    ("LM-PRE-04.storage", make_disk_local(space=CopySpace(100, 99, "/")), Severity.REFUSED),
    ("LM-PRE-04.storage", make_disk_local(space=UNKNOWN_FACT), Severity.UNKNOWN),
    (
        "LM-SHR-01.vda",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.AMBIGUOUS),)),
        Severity.UNKNOWN,
    ),
    (
        "LM-SHR-01.vda",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.UNREACHABLE),)),
        Severity.WARNING,
    ),
    ("LM-SHR-02.safety", place_disk_on(EXT4), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(FileSystem(0xFE534D42, "smb2")), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(FileSystem(0x65735546, "fuse.sshfs")), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(UNKNOWN_FACT), Severity.WARNING),
]


@pytest.mark.parametrize(
    ("check", "change", "severity"),
    FIRING_CASES,
    ids=[f"{index}-{row[0]}-{row[2]}" for index, row in enumerate(FIRING_CASES)],
)
def test_storage_check_fires(check: str, change: FactChange, severity: Severity) -> None:
    assert_check_fires(check, change, severity)


@pytest.mark.parametrize(
    "change",
    [
        place_disk_on(FileSystem(0x6969, "nfs")),
        place_disk_on(FileSystem(0x65735546, "fuse.glusterfs")),
        place_disk_on(EXT4, readonly=True),
        combine_changes(place_disk_on(EXT4), change_facts(plan=Plan(safety=Safety.UNSAFE))),
        combine_changes(place_disk_on(EXT4), change_facts(plan=Plan(copy_storage=StorageCopy.ALL))),
    ],
    ids=["nfs", "fuse", "read-only", "overridden", "copied"],
)
def test_libvirt_safety_check_accepts_disk(change: FactChange) -> None:
    """A disk accepted or skipped by libvirt's safety check causes no warning."""
    (finding,) = evaluate_changed_facts(change)["LM-SHR-02.safety"]

    assert finding.severity is Severity.OK


@pytest.mark.parametrize(
    ("disk_fields", "severity"),
    [
        ({}, Severity.OK),
        ({"readonly": True}, Severity.REFUSED),
        ({"shareable": True}, Severity.REFUSED),
    ],
    ids=["plain", "readonly", "shareable"],
)
def test_copy_plan_covers_plain_local_disks(
    disk_fields: dict[str, bool], severity: Severity
) -> None:
    change = combine_changes(
        make_disk_local(**disk_fields), change_facts(plan=Plan(copy_storage=StorageCopy.ALL))
    )

    assert evaluate_changed_facts(change)["LM-PRE-02.storage"][0].severity is severity


def test_only_named_disks_are_copied() -> None:
    plan = Plan(copy_storage=StorageCopy.ALL, migrate_disks=("vdb",))

    assert (
        evaluate_changed_facts(combine_changes(make_disk_local(), change_facts(plan=plan)))[
            "LM-PRE-02.storage"
        ][0].severity
        is Severity.REFUSED
    )


def test_disk_space_on_the_same_file_system_adds_up() -> None:
    disks = tuple(
        make_disk_fact(name, DiskLocation.LOCAL, space=CopySpace(60, 100, "/"))
        for name in ("vda", "vdb")
    )

    (finding,) = evaluate_changed_facts(change_facts(disks=disks))["LM-PRE-04.storage"]

    assert finding.severity is Severity.REFUSED
    assert finding.figures == {"needed_mib": 120, "available_mib": 100}
