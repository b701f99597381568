"""LM-LOC-01: images at the destination, created by migqual or prepared by a user."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import RecordUnguardedMigration
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.plan import DestinationImages, Safety, StorageCopy
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from migqual.units import MIB
from suites.support.disks import (
    COPY_PLAN,
    LOCAL_DISK,
    VERIFIED_COPY_PLAN,
    apply_temporary_change,
    create_image,
    fill_disk,
    has_file,
    inspect_image,
    read_file_identity,
)
from suites.support.guard_refusals import disable_guard, expect_guard_refusal
from suites.support.stack_refusals import expect_stack_refusal

QCOW2_OPTIONS = (
    (),
    ("cluster_size=4k",),
    ("compat=0.10",),
    ("preallocation=metadata",),
    ("lazy_refcounts=on",),
)
# A copy allocates every written block, so preallocation cannot be recognized afterwards.
COMPARED_OPTIONS = ("cluster_size", "compat", "lazy_refcounts")
BACKED_DISK = DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, has_backing_file=True)


@pytest.mark.requirement("LM-LOC-01", "LM-LOC-03")
def test_images_are_created_like_the_originals(testbed: Testbed) -> None:
    """
    The destination's images are created before the migration, with the options of the
    originals.

    Preconditions: qcow2 images with relevant options, different for each image; no image at the
    destination.
    Expected: each new image has the path, format, virtual size and options of the original, and
    is equal in every block.
    """
    disks = tuple(
        DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, create_options=options)
        for options in QCOW2_OPTIONS
    )
    guest = testbed.make_guest(GuestSpec(disks=disks))
    source_images = [
        inspect_image(guest, target, testbed.source) for target in guest.spec.list_disk_targets()
    ]

    testbed.migrate(guest, VERIFIED_COPY_PLAN)

    destination_images = [
        inspect_image(guest, target, testbed.destination)
        for target in guest.spec.list_disk_targets()
    ]
    assert [(image.format, image.virtual_size) for image in destination_images] == [
        ("qcow2", 64 * MIB)
    ] * len(QCOW2_OPTIONS)
    for source_image, destination_image in zip(source_images, destination_images, strict=True):
        assert {name: destination_image.create_options.get(name) for name in COMPARED_OPTIONS} == {
            name: source_image.create_options.get(name) for name in COMPARED_OPTIONS
        }


@pytest.mark.requirement("LM-LOC-01")
def test_image_is_created_in_storage_pool(testbed: Testbed) -> None:
    """
    If a storage pool of libvirt covers the folder, the image becomes a volume of the pool.

    Preconditions: at the destination, the folder of the image is the target of a storage pool.
    Expected: the pool lists the image; the copy is equal in every block.
    """
    guest = testbed.make_guest(GuestSpec(disks=(replace(LOCAL_DISK, subfolder="pool"),)))
    path = guest.volumes[0].path
    pool = create_storage_pool(testbed.provisioner, guest, testbed.pair, path.parent)

    testbed.migrate(guest, VERIFIED_COPY_PLAN)

    volume_list = testbed.destination.shell.run("virsh", "-q", "vol-list", "--pool", pool).stdout
    assert path.name in volume_list


@pytest.mark.requirement("LM-LOC-01")
@pytest.mark.parametrize(
    ("source_format", "destination_format"),
    [
        (DiskFormat.QCOW2, DiskFormat.RAW),
        pytest.param(DiskFormat.RAW, DiskFormat.QCOW2, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_image_of_another_format_is_refused(
    source_format: DiskFormat,
    destination_format: DiskFormat,
    testbed: Testbed,
    record_unguarded_migration: RecordUnguardedMigration,
) -> None:
    """
    The guard refuses a prepared image of another format.

    Preconditions: an image of the right virtual size and the wrong format.
    Expected: with the guard the migration is refused. The message has both formats and the
    remedy, and the image is unchanged. Without the guard the reaction of libvirt and QEMU is
    recorded. The guest runs on unharmed in both cases.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, source_format),)))
    create_image(
        testbed.provisioner,
        guest,
        testbed.destination,
        guest.volumes[0].path,
        disk_format=destination_format,
    )
    plan = replace(COPY_PLAN, destination_images=DestinationImages.EXISTING)

    finding = expect_guard_refusal(testbed, guest, plan, "LM-LOC-01.image")

    assert (
        f"{source_format} on {testbed.source.name}, but {destination_format} at" in finding.message
    )
    record_unguarded_migration(guest, disable_guard(plan))


@pytest.mark.requirement("LM-LOC-01")
def test_existing_image_is_not_overwritten(testbed: Testbed) -> None:
    """
    A file that already exists at the path of the copy is not overwritten, because the file may
    belong to a user.

    Preconditions: an image of the same name at the destination; the plan asks for a new image.
    Expected: the migration is refused with a remedy; the file is unchanged.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    path = guest.volumes[0].path
    create_image(testbed.provisioner, guest, testbed.destination, path)
    identity_before = read_file_identity(testbed.destination, path)

    finding = expect_guard_refusal(testbed, guest, COPY_PLAN, "LM-LOC-01.image")

    assert "already exists" in finding.message
    assert read_file_identity(testbed.destination, path) == identity_before


@pytest.mark.requirement("LM-LOC-01")
def test_image_prepared_by_hand_is_used(testbed: Testbed) -> None:
    """
    In the documented procedure a user prepares the image, and the migration fills the image.

    Preconditions: the destination has an image with the path, format and size of the source
    image.
    Expected: afterwards the guest uses the prepared file, not a new file. The prepared file is
    equal to the source image in every block.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    path = guest.volumes[0].path
    create_image(testbed.provisioner, guest, testbed.destination, path)
    inode = testbed.destination.shell.run("stat", "-c", "%i", path).stdout

    testbed.migrate(
        guest, replace(VERIFIED_COPY_PLAN, destination_images=DestinationImages.EXISTING)
    )

    assert testbed.destination.shell.run("stat", "-c", "%i", path).stdout == inode


@pytest.mark.requirement("LM-LOC-02")
def test_unknown_disk_is_refused(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A plan that names a disk that the guest does not have is refused.

    Preconditions: a guest with a single disk; the plan names another disk.
    Expected: the guard names the guest's disks. Without the guard libvirt or QEMU refuses. No
    image is created, and the guest runs on.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    plan = replace(COPY_PLAN, migrate_disks=("vdq",), safety=Safety.UNSAFE)

    finding = expect_guard_refusal(testbed, guest, plan, "LM-LOC-02.disks")
    assert "vda" in finding.remedy
    message = expect_stack_refusal(testbed, guest, disable_guard(plan))

    record_stack_message("unknown-disk", message)
    assert not has_file(testbed.destination, guest.volumes[0].path)


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-03")
def test_backing_chain_is_copied_flat(testbed: Testbed) -> None:
    """
    An image with a backing file arrives as a complete image, which needs no backing file.

    Preconditions: the guest's image has a backing file with contents. The destination has neither
    of these two files.
    Expected: the image at the destination has no backing file, and every block is equal.
    """
    guest = testbed.make_guest(GuestSpec(disks=(BACKED_DISK,)))

    testbed.migrate(guest, VERIFIED_COPY_PLAN)

    assert inspect_image(guest, "vda", testbed.source).backing_file
    assert not inspect_image(guest, "vda", testbed.destination).backing_file


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-01")
def test_incremental_copy_keeps_backing_file(testbed: Testbed) -> None:
    """
    If the destination has the same backing file, only the data above the backing file are
    copied.

    Preconditions: the backing file is on both hosts, with equal contents.
    Expected: the image at the destination has the backing file, and every block that the guest
    reads is equal.
    """
    guest = testbed.make_guest(GuestSpec(disks=(BACKED_DISK,)))
    fill_disk(guest, "vda", offset_mib=24, size_mib=4)
    backing_path = inspect_image(guest, "vda", testbed.source).backing_file
    apply_temporary_change(
        testbed.provisioner,
        guest,
        testbed.destination,
        f"image {backing_path}",
        [],
        [("rm", "-f", "--", backing_path)],
    )
    testbed.destination.shell.upload_file(
        testbed.source.shell.read_file(PurePosixPath(backing_path)), PurePosixPath(backing_path)
    )

    testbed.migrate(guest, replace(VERIFIED_COPY_PLAN, copy_storage=StorageCopy.INCREMENTAL))

    assert inspect_image(guest, "vda", testbed.destination).backing_file == backing_path


@pytest.mark.requirement("LM-LOC-01")
def test_different_backing_file_is_refused(testbed: Testbed) -> None:
    """
    An incremental copy over a different backing file would damage the disk and is refused.

    Preconditions: at first the backing file is missing at the destination. Then the destination
    has a file of this path with other contents.
    Expected: the guard refuses both times and names the backing file; no image is created.
    """
    guest = testbed.make_guest(GuestSpec(disks=(BACKED_DISK,)))
    backing_path = PurePosixPath(inspect_image(guest, "vda", testbed.source).backing_file)
    plan = replace(COPY_PLAN, copy_storage=StorageCopy.INCREMENTAL)

    missing_finding = expect_guard_refusal(testbed, guest, plan, "LM-LOC-01.image")
    create_image(
        testbed.provisioner, guest, testbed.destination, backing_path, disk_format=DiskFormat.QCOW2
    )
    different_finding = expect_guard_refusal(testbed, guest, plan, "LM-LOC-01.image")

    for finding in (missing_finding, different_finding):
        assert f"does not have the same backing file {backing_path}" in finding.message
    assert not has_file(testbed.destination, guest.volumes[0].path)


def create_storage_pool(
    provisioner: Provisioner, guest: Guest, pair: HostPair, folder: PurePosixPath
) -> str:
    """Create a libvirt storage pool for a folder of the destination; return the pool's name."""
    name = folder.name
    create_command = ("virsh", "-q", "pool-create-as", name, "dir", "--target", str(folder))
    destroy_command = ("virsh", "-q", "pool-destroy", name)
    apply_temporary_change(
        provisioner, guest, pair.destination, f"pool {name}", [create_command], [destroy_command]
    )
    return name
