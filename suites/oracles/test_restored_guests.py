"""A guest that was restored from a saved state is what a guest that booted is."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.plugins.guests import MakeGuest, Watched
from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.hosts.state_folder import KeptState
from migqual.model.guest import DiskSpec, GuestSpec, Start
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety
from migqual.predict.contents import contents
from migqual.preflight.tools import Tools

pytestmark = pytest.mark.oracle

Migrate = Callable[..., Outcome]
DISK = (DiskSpec(StoreKind.DIRECTORY),)
LEFT_BY_A_BOOT_MIB = 4  # at least, where the load has not used it again
UNSAFE = Plan(safety=Safety.UNSAFE)


def test_restored_and_booted_guests_are_the_same(
    make_guest: MakeGuest, migrate: Migrate, watched: Watched, tools: Tools
) -> None:
    """
    Guests that booted and guests that were restored have the same devices, and pass the same checks
    around a migration.

    Preconditions: two of each, in turn, with a disk.
    Expected: every guest lists the same devices; each moves with memory, disk, session and boot
    unharmed; the restored ones came up without a boot, and with less memory filled, since what a
    boot leaves behind is neither restored nor sent.
    """
    starts = (Start.RESTORED, Start.BOOTED, Start.RESTORED, Start.BOOTED)
    devices, filled_mib = [], []

    for start in starts:
        guest = make_guest(GuestSpec(disks=DISK, start=start))
        filled_mib.append(measure_filled_mib(guest, tools))
        listed = guest.payload("devices")["devices"]
        devices.append(sorted((one["kind"], one["name"], one["ok"]) for one in listed))
        outcome = migrate(guest, UNSAFE)
        assert outcome.gaps is not None
        assert outcome.gaps.session_alive
        watched.final_check()

    assert {kind for kind, _, _ in devices[0]} >= {"disk", "nic"}
    assert devices == [devices[0]] * len(starts)
    assert watched.provision.saved.trouble == {}
    assert 0 < max(filled_mib[0::2]) < min(filled_mib[1::2]) - LEFT_BY_A_BOOT_MIB, filled_mib


def measure_filled_mib(guest: Guest, tools: Tools) -> float:
    """Memory of the guest that is not zero, as its host sees it."""
    found = contents(guest.host, guest.domain, guest.spec.memory_mib * 1024, tools, (0.05,))
    assert found is not None, "QEMU's memory was not found"
    return found.filled_mib


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


@pytest.mark.parametrize("size", ["20M", "100"], ids=["torn", "no-head"])
def test_a_kept_state_that_is_damaged_is_made_anew(
    provision: Provisioner, pair: Pair, size: str
) -> None:
    """
    A host may keep states for later runs. One that libvirt does not restore any more costs a boot,
    and nothing else.

    Preconditions: the lab's hosts keep states; the file of one ends too early, in QEMU's
    stream or in libvirt's head.
    Expected: the guest is up all the same, restored from a state that was made anew and is kept.
    """
    spec = GuestSpec(shutdown_delay_s=70 + pair.number)  # a shape that no other test has
    kept = KeptState(pair.source, provision.state_key(spec.shape(), pair.source))
    provision.saved.find(spec, pair.source)
    pair.source.shell.run("truncate", f"--size={size}", kept.path)
    later = replace(provision)  # a run that has no states yet

    with later.guest(spec, pair.source) as guest:
        assert guest.status()["boot_id"] == guest.boot_id

    found = later.saved.find(spec, pair.source)
    assert found is not None
    assert found.kept is None
    assert later.saved.trouble == {}
    whole = int(pair.source.shell.run("stat", "--format=%s", kept.path).stdout)
    assert whole > 20 << 20
