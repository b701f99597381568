"""Guests with several disks, of which some travel and some stay where both hosts reach them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.model.guest import (
    Access,
    DiskBus,
    DiskFormat,
    DiskSpec,
    GuestSpec,
    Medium,
)
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety, StorageCopy
from suites.local_storage.disks import COMPARED, LOCAL, copied, exists

Migrate = Callable[..., Outcome]

SHARED = DiskSpec(StoreKind.DIRECTORY)
UNSAFE = replace(COMPARED, safety=Safety.UNSAFE)
DISC = replace(SHARED, medium=Medium.CDROM, bus=DiskBus.SATA)


@dataclass(frozen=True)
class Disks:
    """Disks of a guest, the plan that moves it, and the targets of those that travel."""

    disks: tuple[DiskSpec, ...]
    travel: frozenset[str]
    plan: Plan = COMPARED


SETS: Mapping[str, Disks] = {
    "all-local": Disks((LOCAL, LOCAL, LOCAL), frozenset({"vda", "vdb", "vdc"})),
    "two-of-three": Disks(
        (LOCAL, SHARED, LOCAL),
        frozenset({"vda", "vdc"}),
        replace(UNSAFE, migrate_disks=("vda", "vdc")),
    ),
    "one-local-others-on-the-network": Disks(
        (DiskSpec(StoreKind.NBD), DiskSpec(StoreKind.ISCSI), LOCAL),
        frozenset({"vdc"}),
        replace(COMPARED, migrate_disks=("vdc",)),
    ),
    "formats-and-sizes": Disks(
        (
            replace(LOCAL, size_mib=32),
            replace(LOCAL, format=DiskFormat.QCOW2, size_mib=96, options=("cluster_size=16k",)),
            replace(LOCAL, format=DiskFormat.QCOW2, bus=DiskBus.SCSI, size_mib=48),
        ),
        frozenset({"vda", "vdb", "sda"}),
    ),
    "different-folders": Disks(
        (replace(LOCAL, folder="one"), replace(LOCAL, folder="two"), LOCAL),
        frozenset({"vda", "vdb", "vdc"}),
    ),
    "a-disc-in-the-drive": Disks(
        (LOCAL, DISC), frozenset({"vda"}), replace(UNSAFE, migrate_disks=("vda",))
    ),
    "an-empty-drive": Disks((LOCAL, replace(DISC, medium=Medium.EMPTY_CDROM)), frozenset({"vda"})),
    "a-read-only-disk": Disks(
        (LOCAL, replace(SHARED, access=Access.READ_ONLY)), frozenset({"vda"}), UNSAFE
    ),
    "a-shareable-disk": Disks(
        (LOCAL, replace(SHARED, access=Access.SHAREABLE)), frozenset({"vda"}), UNSAFE
    ),
}
# One of each kind of reason for a disk to stay; the others vary it.
IN_SHORT = {
    "all-local",
    "one-local-others-on-the-network",
    "a-shareable-disk",
    "a-disc-in-the-drive",
}


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02", "LM-LOC-03")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in IN_SHORT else [pytest.mark.long]) for name in SETS],
)
def test_exactly_the_chosen_disks_travel(
    name: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    Of several disks those travel that only the source has, or that are named, and no other.

    Preconditions: disks on the source's own store, some also on stores that both hosts reach.
    Expected: the copies of the chosen ones are equal in every block; the others are where they
    were; every disk that the guest writes to is intact.
    """
    given = SETS[name]
    guest = make_guest(GuestSpec(disks=given.disks))

    outcome = migrate(guest, given.plan)

    own = {
        target
        for target, disk, volume in zip(
            guest.spec.targets(), given.disks, guest.volumes, strict=True
        )
        if disk.store is StoreKind.LOCAL
        and volume.type == "file"
        and exists(pair.destination, volume.path)
    }
    assert guest.host is pair.destination
    assert not copied(outcome) - given.travel  # libvirt may answer too late to see them all
    assert own == given.travel


@pytest.mark.requirement("LM-LOC-02")
def test_nothing_is_copied_when_nothing_is_asked(make_guest: MakeGuest, migrate: Migrate) -> None:
    """
    A guest on shared disks moves without one byte of them being copied.

    Preconditions: disks on two stores that both hosts reach.
    Expected: no disk data in the job's figures.
    """
    guest = make_guest(GuestSpec(disks=(SHARED, DiskSpec(StoreKind.NBD))))

    outcome = migrate(guest, Plan(safety=Safety.UNSAFE, copy_storage=StorageCopy.NONE))

    assert not outcome.stats.get("disk_total")
    assert not outcome.disks
