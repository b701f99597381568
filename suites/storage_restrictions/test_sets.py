"""LM-NSS-02, LM-NSS-05, LM-NSS-06: which disks may be copied, and how many there must be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest
from lxml import etree

from fixtures.plugins.guests import MakeGuest, StackDid
from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest import Access, DiskBus, DiskSpec, GuestSpec, Medium
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Images, Plan, Safety
from suites.local_storage.disks import ALL, LOCAL, exists, prepared
from suites.storage_restrictions.refusals import refused, unguarded

Migrate = Callable[..., Outcome]

SHARED = DiskSpec(StoreKind.DIRECTORY)
UNSAFE = replace(ALL, safety=Safety.UNSAFE)


@dataclass(frozen=True)
class Wrong:
    """A guest, a plan that names a disk which must stay, and the finding that says so."""

    disks: tuple[DiskSpec, ...]
    named: tuple[str, ...]
    finding: str

    @property
    def plan(self) -> Plan:
        return replace(UNSAFE, migrate_disks=self.named)


SETS: Mapping[str, Wrong] = {
    "shareable": Wrong(
        (LOCAL, replace(SHARED, access=Access.SHAREABLE)), ("vda", "vdb"), "LM-NSS-02.shareable"
    ),
    "shared": Wrong((LOCAL, SHARED), ("vda", "vdb"), "LM-NSS-06.set"),
    "on-the-network": Wrong((LOCAL, DiskSpec(StoreKind.NBD)), ("vda", "vdb"), "LM-NSS-06.set"),
    "read-only": Wrong(
        (LOCAL, replace(SHARED, access=Access.READ_ONLY)), ("vda", "vdb"), "LM-NSS-06.set"
    ),
    "empty-drive": Wrong(
        (LOCAL, replace(SHARED, medium=Medium.EMPTY_CDROM, bus=DiskBus.SATA)),
        ("vda", "sda"),
        "LM-NSS-06.set",
    ),
}


@pytest.mark.requirement("LM-NSS-02", "LM-NSS-06")
@pytest.mark.parametrize("name", SETS)
def test_set_with_a_disk_that_must_stay(
    name: str,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    stack_did: StackDid,
) -> None:
    """
    A set of disks to copy holds none that is shared, shareable, read-only or empty.

    Preconditions: one local disk and one that must stay; the plan names both.
    Expected: the guard refuses and nothing is made; without it, what the stack does is recorded,
    and no disk is damaged.
    """
    wrong = SETS[name]
    guest = make_guest(GuestSpec(disks=wrong.disks))

    refused(migrate, guest, wrong.plan, wrong.finding)

    assert not exists(pair.destination, guest.volumes[0].path)
    stack_did(guest, unguarded(wrong.plan))


@pytest.mark.requirement("LM-NSS-06")
def test_the_rest_travels_when_it_is_left_out(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    The same guest moves once only its own disk is named.

    Preconditions: a local disk, one that is shared and one that is read-only.
    Expected: the guard has nothing against it, and the guest arrives unharmed.
    """
    disks = (LOCAL, SHARED, replace(SHARED, access=Access.READ_ONLY))
    guest = make_guest(GuestSpec(disks=disks))

    migrate(guest, replace(UNSAFE, migrate_disks=("vda",)))

    assert guest.host is pair.destination


@pytest.mark.requirement("LM-NSS-05")
def test_one_image_missing(
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    stack_did: StackDid,
) -> None:
    """
    For every disk that is copied an image waits at the destination.

    Preconditions: two local disks, one image that somebody made.
    Expected: the guard tells both counts and the one that is missing; without it, what the stack
    does is recorded. The guest is unharmed.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL, LOCAL)))
    prepared(provision, guest, pair.destination, guest.volumes[0].path)
    plan = replace(ALL, images=Images.PRESENT)

    finding = refused(migrate, guest, plan, "LM-NSS-05.count")

    assert finding.figures == {"source": 2, "destination": 1}
    assert "vdb" in finding.words
    assert not exists(pair.destination, guest.volumes[1].path)
    leave_no_image(provision, guest, pair)
    stack_did(guest, unguarded(plan))


@pytest.mark.requirement("LM-NSS-05")
@pytest.mark.parametrize("count", ["one-less", "one-more"])
def test_other_number_of_disks_at_the_destination(
    count: str,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    stack_did: StackDid,
) -> None:
    """
    A definition with another number of disks is not the same guest.

    Preconditions: the definition for the destination lacks a disk, or has one more.
    Expected: the guard tells both counts; without it the stack refuses, naming them too. Nothing is
    made, the guest runs on.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL, LOCAL)))
    plan = replace(ALL, destination_xml=recounted(guest, count))

    finding = refused(migrate, guest, plan, "LM-NSS-05.count")

    assert finding.figures == {"source": 2, "destination": 1 if count == "one-less" else 3}
    words = stack_did(guest, unguarded(plan))
    assert "disk" in words, f"refused for another reason: {words}"
    assert "count" in words
    assert guest.host is pair.source
    assert not exists(pair.destination, guest.volumes[1].path)


def recounted(guest: Guest, count: str) -> str:
    """The guest's definition with a disk less, or one more."""
    root = etree.fromstring(guest.domain.xml().encode())
    devices = root.find("devices")
    assert devices is not None
    last = devices.findall("disk")[-1]
    if count == "one-less":
        devices.remove(last)
    else:
        text = etree.tostring(last, encoding=str).replace("vdb", "vdc")
        more = etree.fromstring(text)
        for name in ("address", "alias", "serial"):
            for element in more.findall(name):
                more.remove(element)
        last.addnext(more)
    return etree.tostring(root, encoding=str)


def leave_no_image(provision: Provisioner, guest: Guest, pair: Pair) -> None:
    """libvirt may have made the missing image by itself: it goes with the guest."""
    for volume in guest.volumes:
        undo = [("rm", "-f", "--", str(volume.path))]
        made = provision.journal.record(pair.destination.name, "image", str(volume.path), undo)
        guest.made.insert(0, made)
