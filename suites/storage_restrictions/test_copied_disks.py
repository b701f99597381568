"""LM-NSS-02, LM-NSS-05, LM-NSS-06: the kinds and the number of disks in a copy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest
from lxml import etree

from fixtures.plugins.guests import RecordUnguardedMigration
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskAccess, DiskBus, DiskSpec, GuestSpec, Medium
from migqual.model.plan import DestinationImages, Plan, Safety
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.disks import COPY_PLAN, LOCAL_DISK, create_image, has_file
from suites.support.guard_refusals import disable_guard, expect_guard_refusal

SHARED_DISK = DiskSpec(StoreKind.DIRECTORY)
UNSAFE_COPY_PLAN = replace(COPY_PLAN, safety=Safety.UNSAFE)


@dataclass(frozen=True)
class InvalidDiskSet:
    """A set of disks that contains a disk that must not be copied.

    Attributes:
        disks: The disks of the guest.
        migrate_disks: The targets of the disks that the plan names. One of these disks must not be
            copied.
        finding_id: The id of the expected finding.
    """

    disks: tuple[DiskSpec, ...]
    migrate_disks: tuple[str, ...]
    finding_id: str

    @property
    def plan(self) -> Plan:
        return replace(UNSAFE_COPY_PLAN, migrate_disks=self.migrate_disks)


INVALID_DISK_SETS: Mapping[str, InvalidDiskSet] = {
    "shareable": InvalidDiskSet(
        (LOCAL_DISK, replace(SHARED_DISK, access=DiskAccess.SHAREABLE)),
        ("vda", "vdb"),
        "LM-NSS-02.shareable",
    ),
    "shared": InvalidDiskSet((LOCAL_DISK, SHARED_DISK), ("vda", "vdb"), "LM-NSS-06.set"),
    "on-the-network": InvalidDiskSet(
        (LOCAL_DISK, DiskSpec(StoreKind.NBD)), ("vda", "vdb"), "LM-NSS-06.set"
    ),
    "read-only": InvalidDiskSet(
        (LOCAL_DISK, replace(SHARED_DISK, access=DiskAccess.READ_ONLY)),
        ("vda", "vdb"),
        "LM-NSS-06.set",
    ),
    "empty-drive": InvalidDiskSet(
        (LOCAL_DISK, replace(SHARED_DISK, medium=Medium.EMPTY_CDROM, bus=DiskBus.SATA)),
        ("vda", "sda"),
        "LM-NSS-06.set",
    ),
}


@pytest.mark.requirement("LM-NSS-02", "LM-NSS-06")
@pytest.mark.parametrize("case_name", INVALID_DISK_SETS)
def test_set_with_a_disk_that_must_stay(
    case_name: str, testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    The guard (the check that refuses unsafe migrations) refuses to copy a set of disks that
    contains a shared, remote, shareable, read-only or empty disk.

    Preconditions: a local disk and a disk that must not be copied. The plan names both disks.
    Expected: the guard refuses, and no image is created. Then a second migration runs with the
    guard off, and the report has its result. If libvirt or QEMU refuses, the guest is unharmed.
    """
    disk_set = INVALID_DISK_SETS[case_name]
    guest = testbed.make_guest(GuestSpec(disks=disk_set.disks))

    expect_guard_refusal(testbed, guest, disk_set.plan, disk_set.finding_id)

    assert not has_file(testbed.destination, guest.volumes[0].path)
    record_unguarded_migration(guest, disable_guard(disk_set.plan))


@pytest.mark.requirement("LM-NSS-06")
def test_only_the_named_disk_is_copied(testbed: Testbed) -> None:
    """
    A guest with a local disk and shared disks migrates if the plan copies only the local disk.

    Preconditions: a local disk, a shared disk and a read-only disk. The plan names only the local
    disk.
    Expected: the guard (the check that refuses unsafe migrations) does not refuse this migration.
    The guest arrives unharmed.
    """
    disks = (LOCAL_DISK, SHARED_DISK, replace(SHARED_DISK, access=DiskAccess.READ_ONLY))
    guest = testbed.make_guest(GuestSpec(disks=disks))

    testbed.migrate(guest, replace(UNSAFE_COPY_PLAN, migrate_disks=("vda",)))

    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-NSS-05")
def test_missing_destination_image(
    testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    The guard (the check that refuses unsafe migrations) refuses a migration if the user has not
    created all images at the destination.

    Preconditions: two local disks. The plan requires that the user has created the images at the
    destination, but the destination has an image only for the first disk.
    Expected: the guard refuses. The finding states the number of disks, the number of images, and
    the disk without an image. Then a second migration runs with the guard off, and the report has
    its result. If libvirt or QEMU refuses, the guest is unharmed.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK, LOCAL_DISK)))
    create_image(testbed.provisioner, guest, testbed.destination, guest.volumes[0].path)
    plan = replace(COPY_PLAN, destination_images=DestinationImages.EXISTING)

    finding = expect_guard_refusal(testbed, guest, plan, "LM-NSS-05.count")

    assert finding.figures == {"source": 2, "destination": 1}
    assert "vdb" in finding.message
    assert not has_file(testbed.destination, guest.volumes[1].path)
    remove_images_with_guest(testbed.provisioner, guest, testbed.pair)
    record_unguarded_migration(guest, disable_guard(plan))


class CountChange(StrEnum):
    """A change of the number of disks in the definition for the destination."""

    ONE_LESS = "one-less"
    ONE_MORE = "one-more"


@pytest.mark.requirement("LM-NSS-05")
@pytest.mark.parametrize("count_change", list(CountChange), ids=str)
def test_different_disk_count_at_destination(
    count_change: CountChange,
    testbed: Testbed,
    record_unguarded_migration: RecordUnguardedMigration,
) -> None:
    """
    A migration is refused if the definition for the destination has another number of disks.

    Preconditions: the guest has two local disks. The definition for the destination lacks the
    second disk, or has a third disk.
    Expected: the guard (the check that refuses unsafe migrations) refuses and states both numbers
    of disks. Then a second migration runs with the guard off, and libvirt or QEMU refuses because
    of the number of disks. The guest runs on at the source. The destination has no image of the
    guest's second disk.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK, LOCAL_DISK)))
    plan = replace(COPY_PLAN, destination_xml=change_disk_count(guest, count_change))

    finding = expect_guard_refusal(testbed, guest, plan, "LM-NSS-05.count")

    assert finding.figures == {
        "source": 2,
        "destination": 1 if count_change is CountChange.ONE_LESS else 3,
    }
    message = record_unguarded_migration(guest, disable_guard(plan))
    assert "disk" in message, f"not refused because of the disk count: {message}"
    assert "count" in message
    assert guest.host is testbed.source
    assert not has_file(testbed.destination, guest.volumes[1].path)


def change_disk_count(guest: Guest, count_change: CountChange) -> str:
    """Return a copy of the guest's XML with one disk less or more, for the destination.

    The definition in libvirt stays unchanged.
    """
    root = etree.fromstring(guest.domain.read_migratable_xml().encode())
    devices = root.find("devices")
    assert devices is not None
    last_disk = devices.findall("disk")[-1]
    if count_change is CountChange.ONE_LESS:
        devices.remove(last_disk)
    else:
        text = etree.tostring(last_disk, encoding=str).replace("vdb", "vdc")
        extra_disk = etree.fromstring(text)
        for name in ("address", "alias", "serial"):
            for element in extra_disk.findall(name):
                extra_disk.remove(element)
        last_disk.addnext(extra_disk)
    return etree.tostring(root, encoding=str)


def remove_images_with_guest(provisioner: Provisioner, guest: Guest, pair: HostPair) -> None:
    """Register the images at the destination for removal together with the guest.

    The function also registers an image that does not exist yet. libvirt may create this image in
    a migration without the guard (the check that refuses unsafe migrations).
    """
    for volume in guest.volumes:
        undo_commands = [("rm", "-f", "--", str(volume.path))]
        journal_entry = provisioner.journal.record(
            pair.destination.name, "image", str(volume.path), undo_commands
        )
        guest.journal_entries.insert(0, journal_entry)
