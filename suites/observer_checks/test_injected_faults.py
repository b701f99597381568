"""The observers find faults injected on purpose."""

import re
from enum import StrEnum

import pytest

from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.host_names import translate_domain_xml
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.migration.guarded import migrate_guarded, prepare_destination_images
from migqual.migration.migrate import migrate as migrate_unguarded
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.plan import Arrival, Plan, Safety, StorageCopy
from migqual.observe import disk_copies
from migqual.testbed.observers import Observers
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

BLOCK = 4096
WITH_DISK = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.RAW),))


def test_a_flipped_byte_of_guest_memory_is_found(testbed: Testbed) -> None:
    """
    A byte of guest memory that was changed from outside the guest is found.

    Preconditions: the guest arrived unharmed. Then a byte in the memory of the destination's
    QEMU is changed.
    Expected: the memory check names exactly one bad page.
    """
    guest = testbed.make_guest(GuestSpec())
    testbed.migrate(guest, Plan())
    observers = detach_observers(testbed, guest)

    flip_memory_byte(guest, testbed.provisioner)

    assert [violation for violation in observers.find_violations() if "1 bad pages" in violation]


def test_a_flipped_byte_of_a_disk_is_found(testbed: Testbed) -> None:
    """
    A byte of a disk image that was changed from outside the guest is found.

    Preconditions: the guest arrived unharmed. The disk load is stopped, so the load cannot
    overwrite the changed block.
    Expected: the disk check names exactly one bad block.
    """
    guest = testbed.make_guest(WITH_DISK)
    testbed.migrate(guest, Plan(safety=Safety.UNSAFE))
    observers = detach_observers(testbed, guest)
    guest.run_payload_command("disk", "stop", "vda")

    flip_disk_byte(guest.host, str(guest.volumes[0].path))

    assert [violation for violation in observers.find_violations() if "1 bad blocks" in violation]


def test_split_brain_is_found(testbed: Testbed) -> None:
    """
    A second copy of the guest running on the other host is reported as split brain.

    Preconditions: the guest runs at the source. Then a guest with the same definition is started
    at the destination.
    Expected: the observers report a split brain.
    """
    guest = testbed.make_guest(GuestSpec())
    observers = detach_observers(testbed, guest)

    copy_xml = translate_domain_xml(
        guest.domain.read_migratable_xml(), testbed.source.names, testbed.destination.names
    )
    testbed.destination.libvirt.create_domain(copy_xml)

    assert [violation for violation in observers.find_violations() if "split brain" in violation]


def test_a_restart_is_found(testbed: Testbed) -> None:
    """
    A reboot of the guest is found.

    Preconditions: the guest runs. Then the guest is reset, and boots again.
    Expected: the observers report a new boot id, a broken TCP session with the client, or lost
    guest loads. One of these reports is enough.
    """
    guest = testbed.make_guest(GuestSpec())
    observers = detach_observers(testbed, guest)

    guest.domain.reset()
    observers.meter.wait_for_reply(observers.meter.mark_time_ns())

    assert observers.find_violations()


def test_a_copy_that_differs_in_one_block_is_found(testbed: Testbed) -> None:
    """
    A copied disk with a byte different from the original is found.

    Preconditions: the guest is paused at the arrival, and the copy equals the original. Then a
    byte of the copy is changed from outside the guest.
    Expected: the comparison finds no difference before the change, and names the disk
    afterwards.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    probe_context = detach_observers(testbed, guest).probe_context
    source_disks = disk_copies.read_disks(guest)
    plan = Plan(copy_storage=StorageCopy.ALL, arrival=Arrival.PAUSED)
    copied_disks = disk_copies.list_copied_disks(
        guest,
        testbed.source,
        source_disks,
        migrate_guarded(guest, testbed.destination, plan, probe_context),
    )
    assert disk_copies.find_disk_differences(probe_context.journal, copied_disks) == []

    dd_arguments = (
        f"of={guest.volumes[0].path}",
        f"seek={50 * 2**20}",
        "bs=1",
        "count=1",
        "conv=notrunc",
    )
    testbed.destination.shell.run("dd", *dd_arguments, "if=/proc/version")

    (difference,) = disk_copies.find_disk_differences(probe_context.journal, copied_disks)
    assert difference.startswith("vda: the copy differs")


class ImageUse(StrEnum):
    """How the test uses the old image of a copied disk: it writes to the file, or only opens it.

    The old image stays at the source after a migration has copied the disk. The guest no longer
    uses it.
    """

    WRITTEN = "written"
    OPENED = "opened"


@pytest.mark.parametrize("image_use", list(ImageUse), ids=str)
def test_use_of_the_old_source_image_is_found(image_use: ImageUse, testbed: Testbed) -> None:
    """
    After a disk copy, any use of the old image at the source is found.

    Preconditions: the guest and the disk have arrived. A process writes to the old image, or
    only opens the image.
    Expected: the observers report the use, with the host and the image.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    testbed.migrate(guest, Plan(copy_storage=StorageCopy.ALL))
    observers = detach_observers(testbed, guest)
    old_image = str(guest.volumes[0].path)
    assert disk_copies.find_old_image_violations(observers.copied_disks) == []

    if image_use is ImageUse.WRITTEN:
        flip_disk_byte(testbed.source, old_image)
        violations = disk_copies.find_old_image_violations(observers.copied_disks)
    else:
        with testbed.source.shell.start(
            "sh", "-c", 'exec 3<"$1"; echo open; exec cat', "sh", old_image
        ) as image_holder:
            image_holder.read_first_line()
            violations = disk_copies.find_old_image_violations(observers.copied_disks)

    assert any(
        f"{testbed.source.name}:{old_image}" in violation and image_use[:4] in violation
        for violation in violations
    )


def test_destination_image_stays_after_a_late_failure(testbed: Testbed) -> None:
    """
    A failure after the arrival of the guest does not remove the image at the destination.

    Preconditions: the migration succeeds, and then an exception is raised.
    Expected: the image at the destination stays, and the guest writes to the image.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)))
    plan = Plan(copy_storage=StorageCopy.ALL)
    probe_context = testbed.observers[guest.name].probe_context

    def fail_after_arrival() -> None:
        with prepare_destination_images(guest, testbed.destination, plan, probe_context):
            migrate_unguarded(guest, testbed.destination, plan)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_arrival()

    assert guest.query_state() is DomainState.RUNNING
    assert testbed.destination.shell.run_unchecked("test", "-e", guest.volumes[0].path).status == 0


def detach_observers(testbed: Testbed, guest: Guest) -> Observers:
    """Remove the observers of the guest from the testbed, and return the observers.

    At the end of a test, the testbed checks every guest that still has observers. This check must
    skip a guest that the test damages on purpose.
    """
    return testbed.detach_observers(guest)


def flip_memory_byte(guest: Guest, provisioner: Provisioner) -> None:
    payload_path = provisioner.get_run_folder(guest.host) / "payload"
    pid = str(guest.host.list_qemu_pids(guest.name)[0])
    guest.host.shell.run(payload_path, "flip", "--pid", pid, "--marker", guest.memory_marker)


def flip_disk_byte(host: Host, image: str) -> None:
    """Flip all bits of one byte of a disk image.

    The function searches the image for the first block with data, and flips the last byte of this
    block.
    """
    cmp_output = host.shell.run_unchecked("cmp", image, "/dev/zero").stdout
    offset_match = re.search(r"(?:byte|char) (\d+)", cmp_output)
    assert offset_match, f"no block of {image} was written: {cmp_output}"
    offset = ((int(offset_match[1]) - 1) // BLOCK + 1) * BLOCK - 1
    byte = host.shell.run("od", "-An", "-tu1", f"-j{offset}", "-N1", image).stdout
    dd_command = (
        "dd",
        f"of={image}",
        "bs=1",
        f"seek={offset}",
        "conv=notrunc,fsync",
        "status=none",
    )
    host.shell.run(*dd_command, stdin=bytes([int(byte) ^ 0xFF]))
