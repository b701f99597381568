"""The head of libvirt's save files: read, and written anew under another definition."""

import struct

import pytest

from migqual.hosts.saved_state import SaveHead, parse_head
from migqual.model.guest import (
    DiskFormat,
    DiskLoad,
    DiskSpec,
    Firmware,
    GuestSpec,
    Load,
    Persistence,
    Start,
)
from migqual.model.inventory import StoreKind

pytestmark = pytest.mark.selftest
PADDING = 64


def save_file(
    xml: bytes = b"<domain/>\0",
    cookie: bytes = b"<cookie/>\0",
    *,
    magic: bytes = b"LibvirtQemudSave",
    version: int = 2,
    compressed: int = 0,
) -> bytes:
    """What libvirt writes, with a stream of QEMU's behind it."""
    length = len(xml) + len(cookie) + PADDING
    numbers = (version, length, 1, compressed, len(xml) if cookie else 0)
    head = struct.pack("<16s5I56x", magic, *numbers)
    return head + xml + cookie + bytes(PADDING) + b"QEVM stream"


def test_a_head_keeps_its_length_and_its_cookie() -> None:
    """
    Another definition takes the place of the old one, and QEMU's stream stays where it is.

    Expected: the new head is as long as the old one; libvirt finds the XML and the same cookie.
    """
    old = save_file()
    new = parse_head(old).render("<domain><name>another</name></domain>")

    assert len(new) == len(old) - len(b"QEVM stream")
    assert new[92:].startswith(b"<domain><name>another</name></domain>\0<cookie/>\0\0")
    assert parse_head(new) == parse_head(old)


def test_macs_are_read_from_the_definition() -> None:
    """The guest that was saved has them until it gets others."""
    nics = "".join(f"<interface><mac address='52:54:00:00:00:0{n}'/></interface>" for n in (1, 2))
    head = parse_head(save_file(f"<domain>{nics}</domain>".encode() + b"\0"))

    assert head.macs == ("52:54:00:00:00:01", "52:54:00:00:00:02")


def test_a_head_without_a_cookie_stays_without() -> None:
    """Some domains have none; then libvirt takes all before the stream for XML."""
    head = parse_head(save_file(cookie=b""))

    assert head.cookie == b""
    assert struct.unpack_from("<5I", head.render("<domain/>"), 16)[4] == 0


def test_a_definition_that_is_too_long_is_refused() -> None:
    """It would overwrite QEMU's stream."""
    with pytest.raises(ValueError, match="are there"):
        SaveHead(100, 1, b"<cookie/>\0").render("<domain>" + "x" * 100)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"LibvirtQemudSave", "shorter"),
        (save_file(magic=b"LibvirtQemudPart"), "magic b'LibvirtQemudPart'"),
        (save_file(version=3), "version 3"),
        (save_file(compressed=1), "compression 1"),
        (save_file()[:120], "are announced"),
        (struct.pack("<16s5I56x", b"LibvirtQemudSave", 2, 2**31, 1, 0, 0), "are announced"),
    ],
    ids=["torn", "incomplete", "version", "compressed", "short", "huge"],
)
def test_other_files_are_refused(data: bytes, words: str) -> None:
    """What is not understood whole is not edited."""
    with pytest.raises(ValueError, match=words):
        parse_head(data)


def test_guests_of_one_shape_share_a_state() -> None:
    """Load, persistence, store and format of a disk show in no device; everything else does."""
    disk = DiskSpec(StoreKind.LOCAL)
    plain = GuestSpec(disks=(disk,))
    alike = GuestSpec(
        disks=(DiskSpec(StoreKind.NBD, DiskFormat.QCOW2, folder="x", backed=True),),
        load=Load("busy", disk=DiskLoad(rate_per_s=None)),
        persistence=Persistence.TRANSIENT,
    )
    others = (
        GuestSpec(),
        GuestSpec(disks=(disk, disk)),
        GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, size_mib=65),)),
        GuestSpec(disks=(disk,), nics=2),
        GuestSpec(disks=(disk,), vcpus=2),
        GuestSpec(disks=(disk,), shutdown_delay_s=4),
    )

    assert plain.shape() == alike.shape()
    assert plain.shape() not in {other.shape() for other in others}
    assert not plain.shape().can_be_restored


@pytest.mark.parametrize(
    ("spec", "can"),
    [
        (GuestSpec(), True),
        (GuestSpec(start=Start.BOOTED), False),
        (GuestSpec(firmware=Firmware.UEFI), False),
    ],
    ids=["plain", "asked to boot", "uefi"],
)
def test_what_keeps_state_elsewhere_is_booted(spec: GuestSpec, *, can: bool) -> None:
    """A saved state serves many guests: nothing of it may lie outside."""
    assert spec.can_be_restored is can
