"""LM-PRE-04, storage: the destination has free space and a folder for the copies."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest_spec import CacheMode, GuestSpec
from migqual.model.plan import Control, DestinationImages
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.disks import COPY_PLAN, LOCAL_DISK, apply_temporary_change, fill_disk, has_file
from suites.support.guard_refusals import disable_guard, expect_guard_refusal
from suites.support.stack_refusals import expect_stack_refusal

SEPARATE_FOLDER_DISK = replace(LOCAL_DISK, subfolder="apart", cache=CacheMode.WRITEBACK)
FILE_SYSTEM_MIB = 24
NOBODY_SECLABEL = (
    "<seclabel type='static' model='dac' relabel='yes'><label>+65534:+65534</label></seclabel>"
)


@pytest.mark.requirement("LM-PRE-04")
def test_no_space_left_for_the_copy(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    Without free space for the copy, the guard refuses; with the guard off the copy fails.

    Preconditions: a file system of 24 MiB at the destination; a disk of 64 MiB, 40 MiB written.
    Expected: the guard (the check before the migration) refuses, and states the needed and the
    available space. With the guard off, the copy starts and fails for lack of space. The guest
    runs on, and the image made at the destination is removed.
    """
    guest = testbed.make_guest(GuestSpec(disks=(SEPARATE_FOLDER_DISK,)))
    fill_disk(guest, "vda", offset_mib=20, size_mib=40)
    path = guest.volumes[0].path
    mount_tmpfs(testbed.provisioner, guest, testbed.pair, path.parent, f"size={FILE_SYSTEM_MIB}M")

    finding = expect_guard_refusal(testbed, guest, COPY_PLAN, "LM-PRE-04.storage")

    assert finding.figures["needed_mib"] == 64
    assert 0 < float(finding.figures["available_mib"]) <= FILE_SYSTEM_MIB
    message = expect_stack_refusal(testbed, guest, disable_guard(COPY_PLAN))
    record_stack_message("no-space", message)
    assert not has_file(testbed.destination, path)


@pytest.mark.requirement("LM-PRE-04", "LM-LOC-01")
def test_folder_that_is_missing(testbed: Testbed) -> None:
    """
    A missing folder for the copied disk is not created at the destination.

    The folder may be the mount point of a file system that is not mounted now.

    Preconditions: the folder of the disk image exists at the source only.
    Expected: the guard (the check before the migration) refuses with a remedy, and no folder is
    created.
    """
    guest = testbed.make_guest(GuestSpec(disks=(SEPARATE_FOLDER_DISK,)))
    folder = guest.volumes[0].path.parent
    testbed.destination.shell.run("rmdir", folder)

    finding = expect_guard_refusal(testbed, guest, COPY_PLAN, "LM-LOC-01.image")

    assert "does not exist" in finding.message
    assert not has_file(testbed.destination, folder)


@pytest.mark.requirement("LM-PRE-04", "LM-LOC-01")
def test_folder_that_is_read_only(testbed: Testbed) -> None:
    """
    A read-only folder for the copied disk is found before the migration.

    Preconditions: at the destination, the folder of the disk image is on a read-only file system.
    Expected: the guard (the check before the migration) refuses with a remedy.
    """
    guest = testbed.make_guest(GuestSpec(disks=(SEPARATE_FOLDER_DISK,)))
    mount_tmpfs(testbed.provisioner, guest, testbed.pair, guest.volumes[0].path.parent, "ro")

    finding = expect_guard_refusal(testbed, guest, COPY_PLAN, "LM-LOC-01.image")

    assert "not writable" in finding.message


@pytest.mark.requirement("LM-LOC-01")
def test_folder_that_qemu_may_not_enter(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    If QEMU has no access to the folder for the copied disk, the migration fails cleanly.

    Preconditions: root may create the image. The QEMU process at the destination belongs to a
    user without access to the folder.
    Expected: the migration fails with permission denied, and the new image is removed.
    """
    guest = testbed.make_guest(GuestSpec(disks=(SEPARATE_FOLDER_DISK,)))
    path = guest.volumes[0].path
    mount_tmpfs(testbed.provisioner, guest, testbed.pair, path.parent, "mode=700")
    xml = guest.domain.read_migratable_xml().replace("</devices>", f"</devices>{NOBODY_SECLABEL}")

    plan = replace(COPY_PLAN, control=Control.DIRECT, destination_xml=xml)
    message = expect_stack_refusal(testbed, guest, plan)

    record_stack_message("permission-denied", message)
    assert not has_file(testbed.destination, path)


@pytest.mark.requirement("LM-LOC-01")
def test_image_that_another_guest_uses(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A disk copy does not overwrite an image that another guest at the destination uses.

    Preconditions: the path of the image at the destination is a hard link to the other guest's
    image.
    Expected: the guard (the check before the migration) refuses. With the guard off, the migration
    fails, because the other guest has locked the image. Both guests run on, unharmed.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    with testbed.provisioner.running_guest(
        GuestSpec(disks=(LOCAL_DISK,)), testbed.destination
    ) as second_guest:
        path = guest.volumes[0].path
        apply_temporary_change(
            testbed.provisioner,
            guest,
            testbed.destination,
            f"link {path}",
            [("ln", str(second_guest.volumes[0].path), str(path))],
            [("rm", "-f", "--", str(path))],
        )
        plan = replace(COPY_PLAN, destination_images=DestinationImages.EXISTING)
        finding = expect_guard_refusal(testbed, guest, plan, "LM-LOC-01.image")
        assert "in use" in finding.message
        message = expect_stack_refusal(testbed, guest, disable_guard(plan))
        record_stack_message("image-locked", message)
        assert second_guest.run_payload_command("disk", "verify", "vda")["bad"] == 0
        assert second_guest.query_state() is DomainState.RUNNING

    assert guest.host is testbed.source


def mount_tmpfs(
    provisioner: Provisioner, guest: Guest, pair: HostPair, folder: PurePosixPath, options: str
) -> None:
    """Mount a tmpfs over a folder that only this test uses."""
    apply_temporary_change(
        provisioner,
        guest,
        pair.destination,
        f"mount over {folder}",
        [("mount", "-t", "tmpfs", "-o", options, "none", str(folder))],
        [("umount", "-l", str(folder)), ("rmdir", str(folder))],
    )
