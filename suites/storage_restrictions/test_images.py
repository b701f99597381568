"""LM-NSS-03, LM-NSS-04: what waits at the destination is a file, of the size of the disk."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import MakeGuest, StackDid
from fixtures.plugins.hosts import Pair
from migqual.errors import LabError
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest import GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Images
from suites.local_storage.disks import ALL, LOCAL, MIB, arrange, identity, prepared
from suites.storage_restrictions.refusals import refused, unguarded

Migrate = Callable[..., Outcome]

SIZE = LOCAL.size_mib * MIB
PRESENT = replace(ALL, images=Images.PRESENT)
SIZES: Mapping[str, int] = {
    "one-sector-smaller": SIZE - 512,
    "one-sector-larger": SIZE + 512,
    "much-smaller": MIB,
    "gigabytes-larger": SIZE + 4096 * MIB,
}


@pytest.mark.requirement("LM-NSS-04")
@pytest.mark.parametrize("size", SIZES)
def test_image_of_another_size(
    size: str,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    stack_did: StackDid,
) -> None:
    """
    An image of another size than the disk is refused, be it by one sector.

    Preconditions: an image at the destination that somebody made of that size.
    Expected: the guard tells both sizes in bytes; without it the stack fails and says that the
    sizes differ. The guest runs on at the source.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    path = guest.volumes[0].path
    prepared(provision, guest, pair.destination, path, size=SIZES[size])
    before = identity(pair.destination, path)

    finding = refused(migrate, guest, PRESENT, "LM-NSS-04.size")

    assert finding.figures == {"source_bytes": SIZE, "destination_bytes": SIZES[size]}
    assert identity(pair.destination, path) == before
    words = stack_did(guest, unguarded(PRESENT))
    assert "different sizes" in words, f"not for its size: {words}"
    assert guest.host is pair.source


@pytest.mark.requirement("LM-NSS-03")
def test_raw_device_at_the_destination(
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    stack_did: StackDid,
) -> None:
    """
    A copy goes to a file: a block device in its place is refused.

    Preconditions: at the destination the image's path leads to a loop device of its size.
    Expected: the guard refuses and nothing is written to the device; without it, what the stack
    does is recorded, and the guest is unharmed.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    path = guest.volumes[0].path
    with device_behind(provision, guest, pair, path):
        refused(migrate, guest, PRESENT, "LM-NSS-03.file")

        assert pair.destination.shell.run("cmp", "-n", str(SIZE), path, "/dev/zero").status == 0
        stack_did(guest, unguarded(PRESENT))


# The device is detached by the kernel once nobody has it open: this shell, and QEMU. So nothing is
# left of it, whatever becomes of the test.
_HOLD = 'set -e; d=$(losetup -f --show "$1"); exec 3<>"$d"; losetup -d "$d"; echo "$d"; exec cat'


@contextmanager
def device_behind(
    provision: Provisioner, guest: Guest, pair: Pair, path: PurePosixPath
) -> Iterator[None]:
    """A loop device of the destination, to which `path` is a link."""
    host, file = pair.destination, f"{path}.loop"
    make = ("truncate", "-s", str(SIZE), file)
    undo = ("rm", "-f", "--", str(path), file)
    arrange(provision, guest, host, f"loop device of {file}", [make], [undo])
    with host.shell.start("sh", "-c", _HOLD, "sh", file) as holder:
        device = next(iter(holder), "").strip()
        if not device.startswith("/dev/"):
            raise LabError(f"{host.name}: no loop device: {device}")
        host.shell.run("ln", "-s", device, path)
        yield
