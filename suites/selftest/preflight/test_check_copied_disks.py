"""Tests of the checks of copied disks: each check refuses only the facts meant for the check."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from migqual.errors import GuardRefusal
from migqual.hosts.domain_definition import Disk
from migqual.migration.destination_images import ImageSpec, plan_images
from migqual.model.finding import Finding, Severity
from migqual.model.plan import DestinationImages, Plan, StorageCopy
from migqual.preflight.checks import STORAGE_CHECKS, evaluate_storage_facts
from migqual.preflight.run import raise_if_refused
from migqual.preflight.storage_facts import CopySpace, DiskFact, DiskLocation, StorageFacts
from migqual.probes.disk_images import CopyDestination, FolderState, ImageInfo, PathKind
from migqual.probes.fact import Missing
from migqual.units import MIB

pytestmark = pytest.mark.selftest

COPY_PLAN = Plan(copy_storage=StorageCopy.ALL)
PRESENT_IMAGES_PLAN = replace(COPY_PLAN, destination_images=DestinationImages.EXISTING)
INCREMENTAL_PLAN = Plan(copy_storage=StorageCopy.INCREMENTAL)
RAW_IMAGE = ImageInfo("raw", 64 * MIB, MIB, 64 * MIB)
QCOW2_IMAGE = ImageInfo("qcow2", 64 * MIB, MIB, MIB, {"cluster_size": "4096", "compat": "1.1"})
ABSENT_DESTINATION = CopyDestination("/images/vda", PathKind.ABSENT, FolderState.WRITABLE)
PREPARED_DESTINATION = replace(ABSENT_DESTINATION, kind=PathKind.FILE, image=RAW_IMAGE)
VDA = DiskFact(
    Disk("vda", "file", "/images/vda"),
    DiskLocation.LOCAL,
    "as probed",
    CopySpace(64, 100, "/"),
    RAW_IMAGE,
    ABSENT_DESTINATION,
)
VDB = replace(
    VDA,
    disk=Disk("vdb", "file", "/shared/vdb"),
    location=DiskLocation.SHARED,
    space=None,
    image=None,
)


def make_storage_facts(*disks: DiskFact, plan: Plan = COPY_PLAN, **changes: object) -> StorageFacts:
    targets = tuple(fact.disk.target for fact in disks)
    return replace(StorageFacts("a", "b", plan, disks, targets), **changes)  # type: ignore[arg-type]


def make_prepared_disk(**changes: object) -> DiskFact:
    return replace(VDA, copy_destination=replace(PREPARED_DESTINATION, **changes))  # type: ignore[arg-type]


def find_refusals(storage_facts: StorageFacts) -> dict[str, Finding]:
    findings = evaluate_storage_facts(storage_facts)
    return {finding.id: finding for finding in findings if finding.severity is Severity.REFUSED}


DISK_WITH_BACKING_FILE = replace(
    VDA, image=replace(QCOW2_IMAGE, backing_file="/images/base", backing_format="qcow2")
)
READ_ONLY_DISK = replace(VDB, disk=replace(VDB.disk, readonly=True))
SHAREABLE_DISK = replace(VDB, disk=replace(VDB.disk, shareable=True))
NAMED_DISKS_PLAN = replace(COPY_PLAN, migrate_disks=("vda", "vdb"))

REFUSED_CASES = {
    "same image": (
        "LM-NSS-01.image",
        make_storage_facts(replace(VDA, location=DiskLocation.SHARED)),
    ),
    "same export": (
        "LM-NSS-01.image",
        make_storage_facts(replace(VDA, location=DiskLocation.REMOTE)),
    ),
    "shareable": (
        "LM-NSS-02.shareable",
        make_storage_facts(VDA, SHAREABLE_DISK, plan=NAMED_DISKS_PLAN),
    ),
    "block device": (
        "LM-NSS-03.file",
        make_storage_facts(make_prepared_disk(kind=PathKind.DEVICE), plan=PRESENT_IMAGES_PLAN),
    ),
    "a folder": (
        "LM-NSS-03.file",
        make_storage_facts(make_prepared_disk(kind=PathKind.OTHER), plan=PRESENT_IMAGES_PLAN),
    ),
    "smaller": (
        "LM-NSS-04.size",
        make_storage_facts(
            make_prepared_disk(image=replace(RAW_IMAGE, virtual_size=64 * MIB - 512)),
            plan=PRESENT_IMAGES_PLAN,
        ),
    ),
    "larger": (
        "LM-NSS-04.size",
        make_storage_facts(
            make_prepared_disk(image=replace(RAW_IMAGE, virtual_size=64 * MIB + 512)),
            plan=PRESENT_IMAGES_PLAN,
        ),
    ),
    "one image missing": ("LM-NSS-05.count", make_storage_facts(VDA, plan=PRESENT_IMAGES_PLAN)),
    "extra disk on destination": (
        "LM-NSS-05.count",
        make_storage_facts(VDA, destination_targets=("vda", "vdb")),
    ),
    "shared disk in the set": (
        "LM-NSS-06.set",
        make_storage_facts(VDA, VDB, plan=NAMED_DISKS_PLAN),
    ),
    "read-only disk in the set": (
        "LM-NSS-06.set",
        make_storage_facts(VDA, READ_ONLY_DISK, plan=NAMED_DISKS_PLAN),
    ),
    "empty drive in the set": (
        "LM-NSS-06.set",
        make_storage_facts(
            VDA, plan=replace(COPY_PLAN, migrate_disks=("vda", "sda")), disk_targets=("vda", "sda")
        ),
    ),
    "other format": (
        "LM-LOC-01.image",
        make_storage_facts(make_prepared_disk(image=QCOW2_IMAGE), plan=PRESENT_IMAGES_PLAN),
    ),
    "would be overwritten": ("LM-LOC-01.image", make_storage_facts(make_prepared_disk())),
    "in use": (
        "LM-LOC-01.image",
        make_storage_facts(make_prepared_disk(in_use=True), plan=PRESENT_IMAGES_PLAN),
    ),
    "no folder": (
        "LM-LOC-01.image",
        make_storage_facts(
            replace(
                VDA, copy_destination=replace(ABSENT_DESTINATION, folder_state=FolderState.MISSING)
            )
        ),
    ),
    "read-only folder": (
        "LM-LOC-01.image",
        make_storage_facts(
            replace(
                VDA,
                copy_destination=replace(ABSENT_DESTINATION, folder_state=FolderState.READ_ONLY),
            )
        ),
    ),
    "encrypted": (
        "LM-LOC-01.image",
        make_storage_facts(replace(VDA, image=replace(QCOW2_IMAGE, encrypted=True))),
    ),
    "backing file missing": (
        "LM-LOC-01.image",
        make_storage_facts(
            replace(DISK_WITH_BACKING_FILE, backing_file_equal=False), plan=INCREMENTAL_PLAN
        ),
    ),
    "backing file unknown": (
        "LM-LOC-01.image",
        make_storage_facts(
            replace(DISK_WITH_BACKING_FILE, backing_file_equal=Missing("b is away")),
            plan=INCREMENTAL_PLAN,
        ),
    ),
    "unknown disk": (
        "LM-LOC-02.disks",
        make_storage_facts(VDA, plan=replace(COPY_PLAN, migrate_disks=("vdq",))),
    ),
    "not enough free space": (
        "LM-PRE-04.storage",
        make_storage_facts(replace(VDA, space=CopySpace(64, 63, "/"))),
    ),
}

ACCEPTED_CASES = {
    "one local disk": make_storage_facts(VDA),
    "prepared image": make_storage_facts(make_prepared_disk(), plan=PRESENT_IMAGES_PLAN),
    "shared disk not selected": make_storage_facts(
        VDA, VDB, plan=replace(COPY_PLAN, migrate_disks=("vda",))
    ),
    "read-only disk not copied": make_storage_facts(VDA, READ_ONLY_DISK),
    "shareable disk not copied": make_storage_facts(VDA, SHAREABLE_DISK),
    "no disk copied": make_storage_facts(VDB, plan=Plan()),
    "same disks on destination": make_storage_facts(VDA, destination_targets=("vda",)),
    "backing file equal": make_storage_facts(
        replace(DISK_WITH_BACKING_FILE, backing_file_equal=True), plan=INCREMENTAL_PLAN
    ),
    "whole chain copied": make_storage_facts(
        replace(DISK_WITH_BACKING_FILE, backing_file_equal=False)
    ),
}


@pytest.mark.parametrize("case", REFUSED_CASES)
def test_bad_facts_are_refused_with_remedy(case: str) -> None:
    finding_id, storage_facts = REFUSED_CASES[case]

    finding = find_refusals(storage_facts)[finding_id]

    assert finding.remedy
    with pytest.raises(GuardRefusal, match=finding_id):
        raise_if_refused(evaluate_storage_facts(storage_facts))


@pytest.mark.parametrize("case", ACCEPTED_CASES)
def test_good_facts_are_accepted(case: str) -> None:
    assert find_refusals(ACCEPTED_CASES[case]) == {}
    raise_if_refused(evaluate_storage_facts(ACCEPTED_CASES[case]))


def test_every_check_has_a_refused_case() -> None:
    """
    Each check in `STORAGE_CHECKS` refuses at least one of `REFUSED_CASES`, with three exceptions.

    LM-SHR-01 only reports the location of a disk. LM-SHR-02.safety only warns, because a plan can
    override the safety check of libvirt. The cases of LM-PRE-02.storage are in
    `test_check_storage.py`.
    """
    refused_ids = {
        id_ for _, storage_facts in REFUSED_CASES.values() for id_ in find_refusals(storage_facts)
    }
    exempt_ids = {"LM-SHR-01", "LM-SHR-02.safety", "LM-PRE-02.storage"}

    assert {check.id for check in STORAGE_CHECKS} - exempt_ids <= refused_ids


def test_possibly_shared_image_is_not_copied() -> None:
    """The copy of a disk with an ambiguous location is refused: the copy might destroy the disk."""
    ambiguous_facts = make_storage_facts(replace(VDA, location=DiskLocation.AMBIGUOUS))

    assert "LM-NSS-01.image" not in find_refusals(ambiguous_facts)
    with pytest.raises(GuardRefusal, match=r"LM-NSS-01\.image"):
        raise_if_refused(evaluate_storage_facts(ambiguous_facts))


def test_finding_states_sizes_in_bytes() -> None:
    finding = find_refusals(REFUSED_CASES["smaller"][1])["LM-NSS-04.size"]

    assert finding.figures == {
        "source_bytes": 64 * MIB,
        "destination_bytes": 64 * MIB - 512,
    }
    assert "smaller" in finding.message


def test_image_spec_of_full_copy_has_no_backing_file() -> None:
    (full_spec,) = plan_images(make_storage_facts(DISK_WITH_BACKING_FILE))
    (incremental_spec,) = plan_images(
        make_storage_facts(
            replace(DISK_WITH_BACKING_FILE, backing_file_equal=True), plan=INCREMENTAL_PLAN
        )
    )

    assert full_spec.backing_file == ""
    assert incremental_spec.backing_file == "/images/base"
    assert incremental_spec.build_create_command(PurePosixPath("/x"))[-6:] == (
        *("-b", "/images/base", "-F", "qcow2"),
        *("/x", str(64 * MIB)),
    )


def test_image_spec_keeps_format_size_and_options() -> None:
    disk_fact = replace(VDA, disk=replace(VDA.disk, format="qcow2"), image=QCOW2_IMAGE)

    (image_spec,) = plan_images(make_storage_facts(disk_fact))

    assert (image_spec.format, image_spec.size_bytes) == ("qcow2", 64 * MIB)
    assert image_spec.options == QCOW2_IMAGE.create_options
    assert image_spec.can_use_pool
    assert not replace(image_spec, options={"preallocation": "falloc"}).can_use_pool
    assert not replace(image_spec, backing_file="/images/base").can_use_pool


def test_no_image_is_planned_without_need() -> None:
    assert plan_images(make_storage_facts(make_prepared_disk(), plan=PRESENT_IMAGES_PLAN)) == ()
    assert plan_images(make_storage_facts(VDB, plan=Plan())) == ()


def test_volume_xml_of_image_spec() -> None:
    image_spec = ImageSpec(PurePosixPath("/p/a&b"), "qcow2", MIB, {"cluster_size": "4096"})

    xml = image_spec.render_volume_xml()

    assert "<name>a&amp;b</name>" in xml
    assert '<capacity unit="bytes">1048576</capacity>' in xml
    assert '<clusterSize unit="B">4096</clusterSize>' in xml
