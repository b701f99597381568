"""LM-NSS-03, LM-NSS-04: the image at the destination is a file of the same size as the disk."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import RecordUnguardedMigration
from migqual.errors import LabError
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import DestinationImages
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from migqual.units import MIB
from suites.support.disks import (
    COPY_PLAN,
    LOCAL_DISK,
    apply_temporary_change,
    create_image,
    read_file_identity,
)
from suites.support.guard_refusals import disable_guard, expect_guard_refusal

SIZE_BYTES = LOCAL_DISK.size_mib * MIB
PRESENT_IMAGES_PLAN = replace(COPY_PLAN, destination_images=DestinationImages.EXISTING)
IMAGE_SIZES_BYTES: Mapping[str, int] = {
    "one-sector-smaller": SIZE_BYTES - 512,
    "one-sector-larger": SIZE_BYTES + 512,
    "much-smaller": MIB,
    "gigabytes-larger": SIZE_BYTES + 4096 * MIB,
}


@pytest.mark.requirement("LM-NSS-04")
@pytest.mark.parametrize("size_name", IMAGE_SIZES_BYTES)
def test_image_of_another_size(
    size_name: str, testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    An image of another size than the disk is refused, even if the difference is a single sector.

    Preconditions: an image of another size exists at the destination.
    Expected: the guard, which is migqual's check for unsafe migrations, refuses the migration and
    states both sizes in bytes. When the plan disables the guard, the migration fails, and the
    stack reports different sizes. The guest runs on at the source.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    path = guest.volumes[0].path
    create_image(
        testbed.provisioner,
        guest,
        testbed.destination,
        path,
        size_bytes=IMAGE_SIZES_BYTES[size_name],
    )
    identity_before = read_file_identity(testbed.destination, path)

    finding = expect_guard_refusal(testbed, guest, PRESENT_IMAGES_PLAN, "LM-NSS-04.size")

    assert finding.figures == {
        "source_bytes": SIZE_BYTES,
        "destination_bytes": IMAGE_SIZES_BYTES[size_name],
    }
    assert read_file_identity(testbed.destination, path) == identity_before
    message = record_unguarded_migration(guest, disable_guard(PRESENT_IMAGES_PLAN))
    assert "different sizes" in message, f"not refused because of the size: {message}"
    assert guest.host is testbed.source


@pytest.mark.requirement("LM-NSS-03")
def test_raw_device_at_the_destination(
    testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    A copy needs a file: a block device at the destination is refused.

    Preconditions: at the destination the path of the image leads to a loop device of the same
    size.
    Expected: the guard, which is migqual's check for unsafe migrations, refuses the migration,
    and the device is not written to. When the plan disables the guard, the behavior of the stack
    is recorded, and the guest is unharmed.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    path = guest.volumes[0].path
    with attach_loop_device(testbed.provisioner, guest, testbed.pair, path):
        expect_guard_refusal(testbed, guest, PRESENT_IMAGES_PLAN, "LM-NSS-03.file")

        assert (
            testbed.destination.shell.run("cmp", "-n", str(SIZE_BYTES), path, "/dev/zero").status
            == 0
        )
        record_unguarded_migration(guest, disable_guard(PRESENT_IMAGES_PLAN))


# The kernel detaches the loop device when the last process (this shell or QEMU) closes the
# device. So the device never stays behind, even after a failed test.
_HOLD_DEVICE_SCRIPT = (
    'set -e; d=$(losetup -f --show "$1"); exec 3<>"$d"; losetup -d "$d"; echo "$d"; exec cat'
)


@contextmanager
def attach_loop_device(
    provisioner: Provisioner, guest: Guest, pair: HostPair, path: PurePosixPath
) -> Iterator[None]:
    """Attach a loop device at the destination, and make `path` a link to the device."""
    host, file = pair.destination, f"{path}.loop"
    make_command = ("truncate", "-s", str(SIZE_BYTES), file)
    undo_command = ("rm", "-f", "--", str(path), file)
    apply_temporary_change(
        provisioner, guest, host, f"loop device of {file}", [make_command], [undo_command]
    )
    with host.shell.start("sh", "-c", _HOLD_DEVICE_SCRIPT, "sh", file) as holder:
        device = holder.read_first_line()
        if not device.startswith("/dev/"):
            raise LabError(f"{host.name}: losetup printed {device!r} instead of a device")
        host.shell.run("ln", "-s", device, path)
        yield
