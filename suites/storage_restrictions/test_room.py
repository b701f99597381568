"""LM-PRE-04, storage: the destination has room for the copies, and a folder to put them in."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationError
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.guest import CacheMode, GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Images
from suites.local_storage.disks import ALL, LOCAL, arrange, exists, fill
from suites.storage_restrictions.refusals import refused, unguarded

Migrate = Callable[..., Outcome]

APART = replace(LOCAL, folder="apart", cache=CacheMode.WRITEBACK)
ROOM_MIB = 24
NOBODY = "<seclabel type='static' model='dac' relabel='yes'><label>+65534:+65534</label></seclabel>"


@pytest.mark.requirement("LM-PRE-04")
def test_file_system_that_fills_up(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    A destination without room for the copy is refused before, or fails during the copy.

    Preconditions: a file system of 24 MiB at the destination, a disk of 64 with 40 written.
    Expected: the guard tells needed and available; without it the copy starts and fails for lack of
    space. The guest runs on, and what was made at the destination is removed.
    """
    guest = make_guest(GuestSpec(disks=(APART,)))
    fill(guest, "vda", at_mib=20, mib=40)
    path = guest.volumes[0].path
    mounted(provision, guest, pair, path.parent, f"size={ROOM_MIB}M")

    finding = refused(migrate, guest, ALL, "LM-PRE-04.storage")

    assert finding.figures["needed_mib"] == 64
    assert 0 < float(finding.figures["available_mib"]) <= ROOM_MIB
    with pytest.raises(MigrationError, match=r"(?i)no space left"):
        migrate(guest, unguarded(ALL))
    assert guest.host is pair.source
    assert not exists(pair.destination, path)


@pytest.mark.requirement("LM-PRE-04", "LM-LOC-01")
def test_folder_that_is_missing(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A folder that the destination has not is not made: something may be meant to be mounted there.

    Preconditions: the image's folder is at the source only.
    Expected: refused with a remedy, and no folder is made.
    """
    guest = make_guest(GuestSpec(disks=(APART,)))
    folder = guest.volumes[0].path.parent
    pair.destination.shell.run("rmdir", folder)

    finding = refused(migrate, guest, ALL, "LM-LOC-01.image")

    assert "no such folder" in finding.words
    assert not exists(pair.destination, folder)


@pytest.mark.requirement("LM-PRE-04", "LM-LOC-01")
def test_folder_that_is_read_only(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    A folder in which nothing can be written is found before the migration.

    Preconditions: a read-only file system at the destination.
    Expected: refused with a remedy.
    """
    guest = make_guest(GuestSpec(disks=(APART,)))
    mounted(provision, guest, pair, guest.volumes[0].path.parent, "ro")

    finding = refused(migrate, guest, ALL, "LM-LOC-01.image")

    assert "nothing can be written" in finding.words


@pytest.mark.requirement("LM-LOC-01")
def test_folder_that_qemu_may_not_enter(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    Rights that only QEMU lacks let the migration fail cleanly.

    Preconditions: root may make the image; QEMU's process at the destination belongs to somebody
    who may not enter the folder.
    Expected: fails and says that permission is denied; the image that was made is removed.
    """
    guest = make_guest(GuestSpec(disks=(APART,)))
    path = guest.volumes[0].path
    mounted(provision, guest, pair, path.parent, "mode=700")
    xml = guest.domain.xml().replace("</devices>", f"</devices>{NOBODY}")

    with pytest.raises(MigrationError, match=r"(?i)permission denied"):
        migrate(guest, replace(ALL, control=Control.DIRECT, destination_xml=xml))

    assert guest.host is pair.source
    assert not exists(pair.destination, path)


@pytest.mark.requirement("LM-LOC-01")
def test_image_that_another_guest_uses(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    An image that another guest of the destination has open is not written to.

    Preconditions: the image's path at the destination is a hard link to that guest's image.
    Expected: the guard refuses; without it QEMU does not get the lock. Both guests go on unharmed.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    with provision.guest(GuestSpec(disks=(LOCAL,)), pair.destination) as other:
        path = guest.volumes[0].path
        arrange(
            provision,
            guest,
            pair.destination,
            f"link {path}",
            [("ln", str(other.volumes[0].path), str(path))],
            [("rm", "-f", "--", str(path))],
        )
        plan = replace(ALL, images=Images.PRESENT)
        finding = refused(migrate, guest, plan, "LM-LOC-01.image")
        assert "in use" in finding.words
        with pytest.raises(MigrationError, match=r"(?i)lock"):
            migrate(guest, unguarded(plan))
        assert other.payload("disk", "verify", "vda")["bad"] == 0
        assert other.state() == "running"

    assert guest.host is pair.source


def mounted(
    provision: Provisioner, guest: Guest, pair: Pair, folder: PurePosixPath, options: str
) -> None:
    """A file system of its own over a folder that is the test's alone."""
    arrange(
        provision,
        guest,
        pair.destination,
        f"mount over {folder}",
        [("mount", "-t", "tmpfs", "-o", options, "none", str(folder))],
        [("umount", "-l", str(folder)), ("rmdir", str(folder))],
    )
