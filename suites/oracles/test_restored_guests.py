"""A guest that was restored from a saved state is what a guest that booted is."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest, Watched
from migqual.model.guest import DiskSpec, GuestSpec, Start
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety

pytestmark = pytest.mark.oracle

Migrate = Callable[..., Outcome]
DISK = (DiskSpec(StoreKind.DIRECTORY),)
UNSAFE = Plan(safety=Safety.UNSAFE)


def test_restored_and_booted_guests_are_the_same(
    make_guest: MakeGuest, migrate: Migrate, watched: Watched
) -> None:
    """
    Guests that booted and guests that were restored have the same devices, and pass the same checks
    around a migration.

    Preconditions: two of each, in turn, with a disk.
    Expected: every guest lists the same devices; each moves with memory, disk, session and boot
    unharmed; the restored ones came up without a boot.
    """
    starts = (Start.RESTORED, Start.BOOTED, Start.RESTORED, Start.BOOTED)
    devices = []

    for start in starts:
        guest = make_guest(GuestSpec(disks=DISK, start=start))
        listed = guest.payload("devices")["devices"]
        devices.append(sorted((one["kind"], one["name"], one["ok"]) for one in listed))
        outcome = migrate(guest, UNSAFE)
        assert outcome.gaps is not None
        assert outcome.gaps.session_alive
        watched.final_check()

    assert {kind for kind, _, _ in devices[0]} >= {"disk", "nic"}
    assert devices == [devices[0]] * len(starts)
    assert watched.provision.saved.trouble == {}


def test_restored_guests_are_told_apart(make_guest: MakeGuest) -> None:
    """
    Two guests of one saved state share nothing that tells a guest from another.

    Expected: boot id, witness marker, MAC and address differ, as the guest itself says; both
    answer on the service network at once, each under its own address.
    """
    first, second = (make_guest(GuestSpec()) for _ in range(2))

    assert first.boot_id != second.boot_id
    assert first.marker != second.marker
    for guest, other in ((first, second), (second, first)):
        seen = str(guest.payload("devices"))
        assert guest.macs[0] in seen
        assert other.macs[0] not in seen
