"""Guests with several disks: some are copied, some stay on shared storage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import (
    DiskAccess,
    DiskBus,
    DiskFormat,
    DiskSpec,
    GuestSpec,
    Medium,
)
from migqual.model.plan import Plan, Safety, StorageCopy
from migqual.testbed.testbed import Testbed
from suites.support.disks import (
    LOCAL_DISK,
    VERIFIED_COPY_PLAN,
    has_file,
    list_copied_targets,
    read_copied_bytes,
)

SHARED_DISK = DiskSpec(StoreKind.DIRECTORY)
UNSAFE_PLAN = replace(VERIFIED_COPY_PLAN, safety=Safety.UNSAFE)
CDROM_DISK = replace(SHARED_DISK, medium=Medium.CDROM, bus=DiskBus.SATA)


@dataclass(frozen=True)
class DiskSelection:
    """The disks of a guest, the plan of the migration, and the expected copies.

    Attributes:
        disks: Disks of the guest.
        copied_targets: Targets of the disks to be copied.
        plan: The plan of the migration.
    """

    disks: tuple[DiskSpec, ...]
    copied_targets: frozenset[str]
    plan: Plan = VERIFIED_COPY_PLAN


SELECTIONS: Mapping[str, DiskSelection] = {
    "all-local": DiskSelection(
        (LOCAL_DISK, LOCAL_DISK, LOCAL_DISK), frozenset({"vda", "vdb", "vdc"})
    ),
    "two-of-three": DiskSelection(
        (LOCAL_DISK, SHARED_DISK, LOCAL_DISK),
        frozenset({"vda", "vdc"}),
        replace(UNSAFE_PLAN, migrate_disks=("vda", "vdc")),
    ),
    "one-local-two-network": DiskSelection(
        (DiskSpec(StoreKind.NBD), DiskSpec(StoreKind.ISCSI), LOCAL_DISK),
        frozenset({"vdc"}),
        replace(VERIFIED_COPY_PLAN, migrate_disks=("vdc",)),
    ),
    "formats-and-sizes": DiskSelection(
        (
            replace(LOCAL_DISK, size_mib=32),
            replace(
                LOCAL_DISK,
                format=DiskFormat.QCOW2,
                size_mib=96,
                create_options=("cluster_size=16k",),
            ),
            replace(LOCAL_DISK, format=DiskFormat.QCOW2, bus=DiskBus.SCSI, size_mib=48),
        ),
        frozenset({"vda", "vdb", "sda"}),
    ),
    "different-folders": DiskSelection(
        (replace(LOCAL_DISK, subfolder="one"), replace(LOCAL_DISK, subfolder="two"), LOCAL_DISK),
        frozenset({"vda", "vdb", "vdc"}),
    ),
    "cdrom": DiskSelection(
        (LOCAL_DISK, CDROM_DISK), frozenset({"vda"}), replace(UNSAFE_PLAN, migrate_disks=("vda",))
    ),
    "empty-cdrom": DiskSelection(
        (LOCAL_DISK, replace(CDROM_DISK, medium=Medium.EMPTY_CDROM)), frozenset({"vda"})
    ),
    "read-only-disk": DiskSelection(
        (LOCAL_DISK, replace(SHARED_DISK, access=DiskAccess.READ_ONLY)),
        frozenset({"vda"}),
        UNSAFE_PLAN,
    ),
    "shareable-disk": DiskSelection(
        (LOCAL_DISK, replace(SHARED_DISK, access=DiskAccess.SHAREABLE)),
        frozenset({"vda"}),
        UNSAFE_PLAN,
    ),
}
# A selection for each reason not to copy a disk; the other selections are variants.
DEFAULT_SELECTIONS = {
    "all-local",
    "one-local-two-network",
    "shareable-disk",
    "cdrom",
}


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02", "LM-LOC-03")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in DEFAULT_SELECTIONS else [pytest.mark.slow])
        for name in SELECTIONS
    ],
)
def test_only_selected_disks_are_copied(name: str, testbed: Testbed) -> None:
    """
    Only local disks or explicitly named disks are copied.

    Preconditions: a guest with disks on the local store of the source. In some cases the guest
    also has disks on stores that both hosts can open.
    Expected: the copies of the selected disks are equal in every block. The other disks are not
    copied. Every disk written by the guest is intact.
    """
    selection = SELECTIONS[name]
    guest = testbed.make_guest(GuestSpec(disks=selection.disks))

    outcome = testbed.migrate(guest, selection.plan)

    present_targets = {
        target
        for target, disk, volume in zip(
            guest.spec.list_disk_targets(), selection.disks, guest.volumes, strict=True
        )
        if disk.store is StoreKind.LOCAL
        and volume.type == "file"
        and has_file(testbed.destination, volume.path)
    }
    assert guest.host is testbed.destination
    assert (
        not list_copied_targets(outcome) - selection.copied_targets
    )  # libvirt may answer too late to show all copied disks
    assert present_targets == selection.copied_targets


@pytest.mark.requirement("LM-LOC-02")
def test_shared_disks_are_not_copied(testbed: Testbed) -> None:
    """
    A guest with only shared disks moves, and no byte of the disks is copied.

    Preconditions: disks on two stores that both hosts can open.
    Expected: the statistics of the job report no disk data.
    """
    guest = testbed.make_guest(GuestSpec(disks=(SHARED_DISK, DiskSpec(StoreKind.NBD))))

    outcome = testbed.migrate(guest, Plan(safety=Safety.UNSAFE, copy_storage=StorageCopy.NONE))

    assert read_copied_bytes(outcome) == 0
    assert not outcome.disk_samples
