"""LM-LOC-01: the destination's images, made by the library or found as they must be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import MakeGuest, StackDid
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationError
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest import DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Images, Safety, StorageCopy
from suites.local_storage.disks import (
    ALL,
    COMPARED,
    LOCAL,
    MIB,
    arrange,
    exists,
    fill,
    identity,
    image_of,
    prepared,
)
from suites.storage_restrictions.refusals import refused, unguarded

Migrate = Callable[..., Outcome]

OPTIONS = (
    (),
    ("cluster_size=4k",),
    ("compat=0.10",),
    ("preallocation=metadata",),
    ("lazy_refcounts=on",),
)
# what a copy writes shows as allocated, so that preallocation cannot be told from it afterwards
KEPT = ("cluster_size", "compat", "lazy_refcounts")
BACKED = DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, backed=True)


@pytest.mark.requirement("LM-LOC-01", "LM-LOC-03")
def test_images_are_made_like_the_originals(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    The destination's images are made before the migration, with the options of the originals.

    Preconditions: qcow2 images with options that matter, each with others; nothing at the
    destination.
    Expected: same path, format, virtual size and options; equal in every block.
    """
    disks = tuple(
        DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, options=options) for options in OPTIONS
    )
    guest = make_guest(GuestSpec(disks=disks))
    asked = [image_of(guest, target, pair.source) for target in guest.spec.targets()]

    migrate(guest, COMPARED)

    made = [image_of(guest, target, pair.destination) for target in guest.spec.targets()]
    assert [(one.format, one.virtual_size) for one in made] == [("qcow2", 64 * MIB)] * len(OPTIONS)
    for before, after in zip(asked, made, strict=True):
        assert {name: after.options.get(name) for name in KEPT} == {
            name: before.options.get(name) for name in KEPT
        }


@pytest.mark.requirement("LM-LOC-01")
def test_image_is_made_in_a_pool_of_libvirt(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    Where a storage pool of libvirt covers the folder, the image becomes a volume of it.

    Preconditions: a pool over the folder at the destination.
    Expected: the pool lists the image; the copy is equal in every block.
    """
    guest = make_guest(GuestSpec(disks=(replace(LOCAL, folder="pool"),)))
    path = guest.volumes[0].path
    pool = pool_over(provision, guest, pair, path.parent)

    migrate(guest, COMPARED)

    listed = pair.destination.shell.run("virsh", "-q", "vol-list", "--pool", pool).stdout
    assert path.name in listed


@pytest.mark.requirement("LM-LOC-01")
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (DiskFormat.QCOW2, DiskFormat.RAW),
        pytest.param(DiskFormat.RAW, DiskFormat.QCOW2, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_image_of_another_format(
    source: DiskFormat,
    destination: DiskFormat,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    stack_did: StackDid,
) -> None:
    """
    An image that was prepared in another format is refused by the guard.

    Preconditions: an image of the right virtual size and the wrong format.
    Expected: with the guard refused, both formats and the remedy told, the image as it was; without
    it, what the stack does is recorded, and the guest goes on unharmed either way.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, source),)))
    prepared(provision, guest, pair.destination, guest.volumes[0].path, kind=destination)
    plan = replace(ALL, images=Images.PRESENT)

    finding = refused(migrate, guest, plan, "LM-LOC-01.image")

    assert f"{source} at {pair.source.name}, {destination} at" in finding.words
    stack_did(guest, unguarded(plan))


@pytest.mark.requirement("LM-LOC-01")
def test_image_that_is_there_already_is_not_overwritten(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    A file that lies where the copy would go is somebody's, and stays.

    Preconditions: an image of that name at the destination; the plan says to make one.
    Expected: refused with a remedy; the file has not changed.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    path = guest.volumes[0].path
    prepared(provision, guest, pair.destination, path)
    before = identity(pair.destination, path)

    finding = refused(migrate, guest, ALL, "LM-LOC-01.image")

    assert "there already" in finding.words
    assert identity(pair.destination, path) == before


@pytest.mark.requirement("LM-LOC-01")
def test_image_prepared_by_hand_is_used(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    The documented way: somebody makes the image first, the migration fills it.

    Preconditions: an image of the same directory, format and size at the destination.
    Expected: it is that very file that the guest uses afterwards, equal in every block.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    path = guest.volumes[0].path
    prepared(provision, guest, pair.destination, path)
    inode = pair.destination.shell.run("stat", "-c", "%i", path).stdout

    migrate(guest, replace(COMPARED, images=Images.PRESENT))

    assert pair.destination.shell.run("stat", "-c", "%i", path).stdout == inode


@pytest.mark.requirement("LM-LOC-02")
def test_unknown_disk_is_refused(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A plan that names a disk which the guest has not is refused.

    Preconditions: a guest with one disk; the plan names another.
    Expected: the guard names the guest's disks; without it the stack says that there is none of
    that name. Nothing is made, the guest runs on.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    plan = replace(ALL, migrate_disks=("vdq",), safety=Safety.UNSAFE)

    finding = refused(migrate, guest, plan, "LM-LOC-02.disks")
    assert "vda" in finding.remedy
    with pytest.raises(MigrationError, match="vdq"):
        migrate(guest, unguarded(plan))

    assert guest.host is pair.source
    assert not exists(pair.destination, guest.volumes[0].path)


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-03")
def test_backing_chain_is_copied_flat(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    An image over a backing file arrives whole.

    Preconditions: a backing file with contents, nothing at the destination.
    Expected: the image there has no backing file, and every block is equal.
    """
    guest = make_guest(GuestSpec(disks=(BACKED,)))

    migrate(guest, COMPARED)

    assert image_of(guest, "vda", pair.source).backing
    assert not image_of(guest, "vda", pair.destination).backing


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-01")
def test_only_the_top_of_a_chain_is_copied(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    Where the destination has the same backing file, only what lies above it is copied.

    Preconditions: the backing file is at both hosts, proved equal.
    Expected: the image there has the backing file, and every block that the guest reads is equal.
    """
    guest = make_guest(GuestSpec(disks=(BACKED,)))
    fill(guest, "vda", at_mib=24, mib=4)
    base = image_of(guest, "vda", pair.source).backing
    arrange(provision, guest, pair.destination, f"image {base}", [], [("rm", "-f", "--", base)])
    pair.destination.shell.put(pair.source.shell.get(PurePosixPath(base)), PurePosixPath(base))

    migrate(guest, replace(COMPARED, copy_storage=StorageCopy.INCREMENTAL))

    assert image_of(guest, "vda", pair.destination).backing == base


@pytest.mark.requirement("LM-LOC-01")
def test_backing_file_that_is_not_the_same(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    Copying the top of a chain over another backing file would damage the disk: it is refused.

    Preconditions: the destination has no such backing file, then one with other contents.
    Expected: refused both times, naming the backing file; nothing is made.
    """
    guest = make_guest(GuestSpec(disks=(BACKED,)))
    base = PurePosixPath(image_of(guest, "vda", pair.source).backing)
    plan = replace(ALL, copy_storage=StorageCopy.INCREMENTAL)

    missing = refused(migrate, guest, plan, "LM-LOC-01.image")
    prepared(provision, guest, pair.destination, base, kind=DiskFormat.QCOW2)
    different = refused(migrate, guest, plan, "LM-LOC-01.image")

    for finding in (missing, different):
        assert f"not the same backing file {base}" in finding.words
    assert not exists(pair.destination, guest.volumes[0].path)


def pool_over(provision: Provisioner, guest: Guest, pair: Pair, folder: PurePosixPath) -> str:
    """A storage pool of libvirt over a folder of the destination; its name."""
    name = folder.name
    make = ("virsh", "-q", "pool-create-as", name, "dir", "--target", str(folder))
    end = ("virsh", "-q", "pool-destroy", name)
    arrange(provision, guest, pair.destination, f"pool {name}", [make], [end])
    return name
