"""The observers can see: what is damaged on purpose is found."""

import re
from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest, Watched
from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.migration.guarded import move, prepared
from migqual.migration.run import migrate as move_alone
from migqual.model.guest import DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Arrival, Plan, Safety, StorageCopy
from migqual.observe import blocks
from migqual.observe.observed import Observers

pytestmark = pytest.mark.oracle

Migrate = Callable[..., Outcome]
BLOCK = 4096
WITH_DISK = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.RAW),))


def test_a_flipped_byte_of_guest_memory_is_found(
    make_guest: MakeGuest, migrate: Migrate, watched: Watched, provision: Provisioner
) -> None:
    """
    One byte changed from outside in the memory of the destination's QEMU does not go unnoticed.

    Preconditions: the guest arrived unharmed.
    Expected: the memory check names exactly one bad page.
    """
    guest = make_guest(GuestSpec())
    migrate(guest, Plan())
    observers = no_longer_checked(watched, guest)

    flip_memory(guest, provision)

    assert [words for words in observers.complaints() if "1 bad pages" in words]


def test_a_flipped_byte_of_a_disk_is_found(
    make_guest: MakeGuest, migrate: Migrate, watched: Watched
) -> None:
    """
    One byte changed from outside in a disk image does not go unnoticed.

    Preconditions: the guest arrived unharmed; its writer rests, so that it cannot repair the block.
    Expected: the disk check names exactly one bad block.
    """
    guest = make_guest(WITH_DISK)
    migrate(guest, Plan(safety=Safety.UNSAFE))
    observers = no_longer_checked(watched, guest)
    guest.payload("disk", "stop", "vda")

    flip_disk(guest.host, str(guest.volumes[0].path))

    assert [words for words in observers.complaints() if "1 bad blocks" in words]


def test_a_second_copy_is_found(make_guest: MakeGuest, watched: Watched, pair: Pair) -> None:
    """
    A copy of the guest that runs on the other host is called split brain.

    Preconditions: the guest runs at the source.
    Expected: starting the same definition at the destination is found.
    """
    guest = make_guest(GuestSpec())
    observers = no_longer_checked(watched, guest)

    pair.destination.libvirt.create(guest.domain.xml())

    assert [words for words in observers.complaints() if "split brain" in words]


def test_a_restart_is_found(make_guest: MakeGuest, watched: Watched) -> None:
    """
    A guest that booted again is not taken for the one that left.

    Preconditions: the guest runs.
    Expected: after a reset, the boot, the session or the lost loads are complained of.
    """
    guest = make_guest(GuestSpec())
    observers = no_longer_checked(watched, guest)

    guest.domain.reset()
    observers.meter.answer_after(observers.meter.mark())

    assert observers.complaints()


def test_a_copy_that_differs_in_one_block_is_found(
    make_guest: MakeGuest, watched: Watched, pair: Pair
) -> None:
    """
    One byte of a copied disk that differs from the original does not go unnoticed.

    Preconditions: the guest is paused at its arrival, and the copy equal; then one byte of it is
    changed from outside.
    Expected: the comparison, silent before, names the disk.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    tools = no_longer_checked(watched, guest).tools
    before = blocks.disks(guest)
    plan = Plan(copy_storage=StorageCopy.ALL, arrival=Arrival.PAUSED)
    copied = blocks.copied(guest, pair.source, before, move(guest, pair.destination, plan, tools))
    assert blocks.differences(tools.journal, copied) == []

    at = (f"of={guest.volumes[0].path}", f"seek={50 * 2**20}", "bs=1", "count=1", "conv=notrunc")
    pair.destination.shell.run("dd", *at, "if=/proc/version")

    (words,) = blocks.differences(tools.journal, copied)
    assert words.startswith("vda: the copy differs")


@pytest.mark.parametrize("harm", ["written", "opened"])
def test_an_image_that_stayed_behind_and_is_used_is_found(
    harm: str, make_guest: MakeGuest, migrate: Migrate, watched: Watched, pair: Pair
) -> None:
    """
    The old image of a disk that was copied is nobody's any more; whoever touches it is found.

    Preconditions: the guest and its disk have arrived; somebody writes to the old image, or just
    has it open.
    Expected: told, with the host and the image.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    migrate(guest, Plan(copy_storage=StorageCopy.ALL))
    observers = no_longer_checked(watched, guest)
    old = str(guest.volumes[0].path)
    assert blocks.touched(observers.left) == []

    if harm == "written":
        flip_disk(pair.source, old)
        found = blocks.touched(observers.left)
    else:
        with pair.source.shell.start(
            "sh", "-c", 'exec 3<"$1"; echo open; exec cat', "sh", old
        ) as it:
            next(iter(it))
            found = blocks.touched(observers.left)

    assert any(f"{pair.source.name}:{old}" in words and harm[:4] in words for words in found)


def test_images_stay_under_a_guest_that_has_arrived(
    make_guest: MakeGuest, watched: Watched, pair: Pair
) -> None:
    """
    What goes wrong after the guest has arrived does not take its disk away.

    Preconditions: the migration succeeds, and then something fails.
    Expected: the image at the destination stays, and the guest writes to it.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    plan = Plan(copy_storage=StorageCopy.ALL)
    tools = watched.observers[guest.name].tools

    def fail_late() -> None:
        with prepared(guest, pair.destination, plan, tools):
            move_alone(guest, pair.destination, plan)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_late()

    assert guest.state() == "running"
    assert pair.destination.shell.attempt("test", "-e", guest.volumes[0].path).status == 0


def no_longer_checked(watched: Watched, guest: Guest) -> Observers:
    """Its observers; the test's end does not ask them any more, since it is damaged on purpose."""
    return watched.observers.pop(guest.name)


def flip_memory(guest: Guest, provision: Provisioner) -> None:
    tool = provision.folder(guest.host) / "payload"
    pid = str(guest.host.processes_of(guest.name)[0])
    guest.host.shell.run(tool, "flip", "--pid", pid, "--marker", guest.marker)


def flip_disk(host: Host, image: str) -> None:
    """Invert the last byte of the first block that the writer has written."""
    told = host.shell.attempt("cmp", image, "/dev/zero").stdout
    found = re.search(r"(?:byte|char) (\d+)", told)
    assert found, f"no block of {image} was written: {told}"
    place = ((int(found[1]) - 1) // BLOCK + 1) * BLOCK - 1
    byte = host.shell.run("od", "-An", "-tu1", f"-j{place}", "-N1", image).stdout
    to = ("dd", f"of={image}", "bs=1", f"seek={place}", "conv=notrunc,fsync", "status=none")
    host.shell.run(*to, stdin=bytes([int(byte) ^ 0xFF]))
