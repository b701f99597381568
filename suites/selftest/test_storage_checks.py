"""Each check of disks that are copied fires on the facts that it is for, and on no others."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from migqual.errors import GuardRefusal
from migqual.migration.images import Recipe, recipes
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Images, Plan, StorageCopy
from migqual.preflight import images
from migqual.preflight.checks import STORAGE_CHECKS, run_storage_checks
from migqual.preflight.definition import Disk
from migqual.preflight.facts import (
    DiskFact,
    Folder,
    Image,
    Kind,
    Missing,
    Place,
    Space,
    Storage,
    Target,
)
from migqual.preflight.run import guard

pytestmark = pytest.mark.selftest

MIB = 2**20
COPY = Plan(copy_storage=StorageCopy.ALL)
PRESENT = replace(COPY, images=Images.PRESENT)
SHALLOW = Plan(copy_storage=StorageCopy.INCREMENTAL)
RAW = Image("raw", 64 * MIB, MIB, 64 * MIB)
QCOW2 = Image("qcow2", 64 * MIB, MIB, MIB, {"cluster_size": "4096", "compat": "1.1"})
ABSENT = Target("/images/vda", Kind.ABSENT, Folder.WRITABLE)
WAITING = replace(ABSENT, kind=Kind.FILE, image=RAW)
VDA = DiskFact(
    Disk("vda", "file", "/images/vda"), Place.LOCAL, "as probed", Space(64, 100, "/"), RAW, ABSENT
)
VDB = replace(
    VDA, disk=Disk("vdb", "file", "/shared/vdb"), place=Place.SHARED, space=None, image=None
)


def of(*disks: DiskFact, plan: Plan = COPY, **changes: object) -> Storage:
    targets = tuple(fact.disk.target for fact in disks)
    return replace(Storage("a", "b", plan, disks, targets), **changes)  # type: ignore[arg-type]


def with_target(**changes: object) -> DiskFact:
    return replace(VDA, target=replace(WAITING, **changes))  # type: ignore[arg-type]


def refusals(storage: Storage) -> dict[str, Finding]:
    found = run_storage_checks(storage)
    return {one.id: one for one in found if one.verdict is Severity.REFUSED}


BACKED = replace(VDA, image=replace(QCOW2, backing="/images/base", backing_format="qcow2"))
READ_ONLY = replace(VDB, disk=replace(VDB.disk, readonly=True))
SHAREABLE = replace(VDB, disk=replace(VDB.disk, shareable=True))
NAMED = replace(COPY, migrate_disks=("vda", "vdb"))

REFUSED = {
    "same image": ("LM-NSS-01.image", of(replace(VDA, place=Place.SHARED))),
    "same export": ("LM-NSS-01.image", of(replace(VDA, place=Place.REMOTE))),
    "shareable": ("LM-NSS-02.shareable", of(VDA, SHAREABLE, plan=NAMED)),
    "block device": ("LM-NSS-03.file", of(with_target(kind=Kind.DEVICE), plan=PRESENT)),
    "a folder": ("LM-NSS-03.file", of(with_target(kind=Kind.OTHER), plan=PRESENT)),
    "smaller": (
        "LM-NSS-04.size",
        of(with_target(image=replace(RAW, virtual_size=64 * MIB - 512)), plan=PRESENT),
    ),
    "larger": (
        "LM-NSS-04.size",
        of(with_target(image=replace(RAW, virtual_size=64 * MIB + 512)), plan=PRESENT),
    ),
    "one image missing": ("LM-NSS-05.count", of(VDA, plan=PRESENT)),
    "one disk more": ("LM-NSS-05.count", of(VDA, there=("vda", "vdb"))),
    "shared in the set": ("LM-NSS-06.set", of(VDA, VDB, plan=NAMED)),
    "read-only in the set": ("LM-NSS-06.set", of(VDA, READ_ONLY, plan=NAMED)),
    "empty drive in the set": (
        "LM-NSS-06.set",
        of(VDA, plan=replace(COPY, migrate_disks=("vda", "sda")), targets=("vda", "sda")),
    ),
    "other format": ("LM-LOC-01.image", of(with_target(image=QCOW2), plan=PRESENT)),
    "would be overwritten": ("LM-LOC-01.image", of(with_target())),
    "in use": ("LM-LOC-01.image", of(with_target(used=True), plan=PRESENT)),
    "no folder": (
        "LM-LOC-01.image",
        of(replace(VDA, target=replace(ABSENT, folder=Folder.MISSING))),
    ),
    "read-only folder": (
        "LM-LOC-01.image",
        of(replace(VDA, target=replace(ABSENT, folder=Folder.READ_ONLY))),
    ),
    "encrypted": ("LM-LOC-01.image", of(replace(VDA, image=replace(QCOW2, encrypted=True)))),
    "backing file missing": (
        "LM-LOC-01.image",
        of(replace(BACKED, backing_equal=False), plan=SHALLOW),
    ),
    "backing file not known": (
        "LM-LOC-01.image",
        of(replace(BACKED, backing_equal=Missing("b is away")), plan=SHALLOW),
    ),
    "unknown disk": ("LM-LOC-02.disks", of(VDA, plan=replace(COPY, migrate_disks=("vdq",)))),
    "no room": ("LM-PRE-04.storage", of(replace(VDA, space=Space(64, 63, "/")))),
}

SILENT = {
    "one local disk": of(VDA),
    "an image prepared beforehand": of(with_target(), plan=PRESENT),
    "the shared one left out": of(VDA, VDB, plan=replace(COPY, migrate_disks=("vda",))),
    "read-only disks are left out": of(VDA, READ_ONLY),
    "shareable disks are left out": of(VDA, SHAREABLE),
    "nothing copied": of(VDB, plan=Plan()),
    "the same disks there": of(VDA, there=("vda",)),
    "backing file equal": of(replace(BACKED, backing_equal=True), plan=SHALLOW),
    "whole chain copied": of(replace(BACKED, backing_equal=False)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_a_remedy(case: str) -> None:
    id_, storage = REFUSED[case]

    finding = refusals(storage)[id_]

    assert finding.remedy
    with pytest.raises(GuardRefusal, match=id_):
        guard(run_storage_checks(storage))


@pytest.mark.parametrize("case", SILENT)
def test_what_is_right_is_let_pass(case: str) -> None:
    assert refusals(SILENT[case]) == {}
    guard(run_storage_checks(SILENT[case]))


def test_every_check_refuses_something() -> None:
    """But for the classes, which only tell, and libvirt's own check, which may be overridden."""
    fired = {id_ for _, storage in REFUSED.values() for id_ in refusals(storage)}
    told = {"LM-SHR-01", "LM-SHR-02.safety", "LM-PRE-02.storage"}

    assert {check.id for check in STORAGE_CHECKS} - told <= fired


def test_image_that_may_be_the_same_is_not_copied() -> None:
    """Unknown is enough to refuse where a wrong guess would cost the disk."""
    vague = of(replace(VDA, place=Place.AMBIGUOUS))

    assert "LM-NSS-01.image" not in refusals(vague)
    with pytest.raises(GuardRefusal, match=r"LM-NSS-01\.image"):
        guard(run_storage_checks(vague))


def test_sizes_are_told_in_bytes() -> None:
    finding = refusals(REFUSED["smaller"][1])["LM-NSS-04.size"]

    assert finding.figures == {
        "source_bytes": 64 * MIB,
        "destination_bytes": 64 * MIB - 512,
    }
    assert "smaller" in finding.words


def test_recipe_of_a_full_copy_has_no_backing_file() -> None:
    (full,) = recipes(of(BACKED))
    (shallow,) = recipes(of(replace(BACKED, backing_equal=True), plan=SHALLOW))

    assert full.backing == ""
    assert shallow.backing == "/images/base"
    assert shallow.argv(PurePosixPath("/x"))[-6:] == (
        *("-b", "/images/base", "-F", "qcow2"),
        *("/x", str(64 * MIB)),
    )


def test_recipe_keeps_format_size_and_options() -> None:
    fact = replace(VDA, disk=replace(VDA.disk, format="qcow2"), image=QCOW2)

    (recipe,) = recipes(of(fact))

    assert (recipe.format, recipe.size) == ("qcow2", 64 * MIB)
    assert recipe.options == QCOW2.options
    assert recipe.fits_a_pool
    assert not replace(recipe, options={"preallocation": "falloc"}).fits_a_pool
    assert not replace(recipe, backing="/images/base").fits_a_pool


def test_nothing_is_made_where_images_are_present() -> None:
    assert recipes(of(with_target(), plan=PRESENT)) == ()
    assert recipes(of(VDB, plan=Plan())) == ()


def test_volume_of_a_pool_says_the_same() -> None:
    recipe = Recipe(PurePosixPath("/p/a&b"), "qcow2", MIB, {"cluster_size": "4096"})

    xml = recipe.volume_xml()

    assert "<name>a&amp;b</name>" in xml
    assert '<capacity unit="bytes">1048576</capacity>' in xml
    assert '<clusterSize unit="B">4096</clusterSize>' in xml


INFO = {
    "format": "qcow2",
    "virtual-size": 64 * MIB,
    "actual-size": MIB,
    "cluster-size": 4096,
    "full-backing-filename": "/images/base",
    "backing-filename-format": "raw",
    "format-specific": {"data": {"compat": "0.10", "lazy-refcounts": True}},
}


def test_image_is_read_from_qemu_img() -> None:
    found = images.read(INFO, length=MIB)

    assert found.options == {"cluster_size": "4096", "compat": "0.10", "lazy_refcounts": "on"}
    assert (found.backing, found.backing_format) == ("/images/base", "raw")
    assert not found.encrypted
    assert images.read({**INFO, "encrypted": True}, length=MIB).encrypted


@pytest.mark.parametrize(
    ("kind", "allocated", "length", "expected"),
    [
        ("raw", MIB, 64 * MIB, None),
        ("raw", 64 * MIB, 64 * MIB, "falloc"),
        ("qcow2", MIB, MIB, None),
        ("qcow2", MIB, 65 * MIB, "metadata"),
        ("qcow2", 65 * MIB, 65 * MIB, "falloc"),
    ],
)
def test_preallocation_is_seen_from_sizes(
    kind: str, allocated: int, length: int, expected: str | None
) -> None:
    info = {"format": kind, "virtual-size": 64 * MIB, "actual-size": allocated}

    assert images.read(info, length).options.get("preallocation") == expected
