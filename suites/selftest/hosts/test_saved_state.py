"""Tests of the header of libvirt's save files: parsing, and rendering with another domain XML."""

import struct

import pytest

from migqual.hosts.saved_state import SaveHeader, parse_save_header
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import (
    DiskFormat,
    DiskLoad,
    DiskSpec,
    Firmware,
    GuestLoad,
    GuestSpec,
    Persistence,
    StartMode,
)

pytestmark = pytest.mark.selftest
PADDING_BYTES = 64


def build_save_file(
    xml: bytes = b"<domain/>\0",
    cookie: bytes = b"<cookie/>\0",
    *,
    magic: bytes = b"LibvirtQemudSave",
    version: int = 2,
    compression: int = 0,
) -> bytes:
    """Build a save file in libvirt's format, followed by a stream of QEMU."""
    length = len(xml) + len(cookie) + PADDING_BYTES
    header_fields = (version, length, 1, compression, len(xml) if cookie else 0)
    header = struct.pack("<16s5I56x", magic, *header_fields)
    return header + xml + cookie + bytes(PADDING_BYTES) + b"QEVM stream"


def test_rendered_header_keeps_length_and_cookie() -> None:
    """
    A new header with another domain XML fits in the place of the old header of a save file.

    Expected: the new header is as long as the old header, so QEMU's stream after the header does
    not move. The new header contains the new XML and the same cookie (additional XML of libvirt).
    """
    old_file = build_save_file()
    new_header = parse_save_header(old_file).render_with_xml(
        "<domain><name>another</name></domain>"
    )

    assert len(new_header) == len(old_file) - len(b"QEVM stream")
    assert new_header[92:].startswith(b"<domain><name>another</name></domain>\0<cookie/>\0\0")
    assert parse_save_header(new_header) == parse_save_header(old_file)


def test_mac_addresses_are_read_from_domain_xml() -> None:
    """
    The MAC addresses of a saved guest are read from the domain XML in the header of the save file.

    A restored guest has these MAC addresses until the guest gets its own MAC addresses.
    """
    interfaces_xml = "".join(
        f"<interface><mac address='52:54:00:00:00:0{n}'/></interface>" for n in (1, 2)
    )
    header = parse_save_header(
        build_save_file(f"<domain>{interfaces_xml}</domain>".encode() + b"\0")
    )

    assert header.macs == ("52:54:00:00:00:01", "52:54:00:00:00:02")


def test_header_without_cookie() -> None:
    """If a save file has no cookie (additional XML of libvirt), a new header has no cookie either.

    The cookie offset in the new header is 0. libvirt then reads all bytes between the header fields
    and QEMU's stream as domain XML.
    """
    header = parse_save_header(build_save_file(cookie=b""))

    assert header.cookie == b""
    assert struct.unpack_from("<5I", header.render_with_xml("<domain/>"), 16)[4] == 0


def test_too_long_domain_xml_is_refused() -> None:
    """A domain XML that is too long for the header of the save file is refused.

    The long XML would overwrite QEMU's migration stream, which follows the header in the file.
    """
    with pytest.raises(ValueError, match="the file has only"):
        SaveHeader(100, 1, b"<cookie/>\0").render_with_xml("<domain>" + "x" * 100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"LibvirtQemudSave", "shorter"),
        (build_save_file(magic=b"LibvirtQemudPart"), "magic b'LibvirtQemudPart'"),
        (build_save_file(version=3), "version 3"),
        (build_save_file(compression=1), "compression 1"),
        (build_save_file()[:120], "announces"),
        (struct.pack("<16s5I56x", b"LibvirtQemudSave", 2, 2**31, 1, 0, 0), "announces"),
    ],
    ids=[
        "truncated-header",
        "incomplete-save",
        "version",
        "compressed",
        "truncated-body",
        "length-above-maximum",
    ],
)
def test_invalid_save_files_are_refused(data: bytes, message: str) -> None:
    """A save file that is incomplete, compressed, or of an unknown format is refused."""
    with pytest.raises(ValueError, match=message):
        parse_save_header(data)


def test_guests_with_same_devices_share_a_saved_state() -> None:
    """
    Guests with the same devices share a saved state; guests with other devices do not.

    Expected: two guests still share a saved state if they differ in the guest load, in the
    persistence (persistent or transient domain), or in the store or format of a disk. Two guests
    that differ in the number of disks, NICs or vCPUs, in the size of a disk, or in the shutdown
    delay, do not share a saved state.
    """
    disk = DiskSpec(StoreKind.LOCAL)
    plain_spec = GuestSpec(disks=(disk,))
    equivalent_spec = GuestSpec(
        disks=(DiskSpec(StoreKind.NBD, DiskFormat.QCOW2, subfolder="x", has_backing_file=True),),
        load=GuestLoad("busy", disk=DiskLoad(rate_per_s=None)),
        persistence=Persistence.TRANSIENT,
    )
    different_specs = (
        GuestSpec(),
        GuestSpec(disks=(disk, disk)),
        GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, size_mib=65),)),
        GuestSpec(disks=(disk,), nics=2),
        GuestSpec(disks=(disk,), vcpus=2),
        GuestSpec(disks=(disk,), shutdown_delay_s=4),
    )

    assert plain_spec.derive_saved_state_spec() == equivalent_spec.derive_saved_state_spec()
    assert plain_spec.derive_saved_state_spec() not in {
        spec.derive_saved_state_spec() for spec in different_specs
    }
    assert not plain_spec.derive_saved_state_spec().can_be_restored


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (GuestSpec(), True),
        (GuestSpec(start_mode=StartMode.BOOTED), False),
        (GuestSpec(firmware=Firmware.UEFI), False),
    ],
    ids=["plain", "start-booted", "uefi"],
)
def test_guest_with_state_on_disk_cannot_be_restored(spec: GuestSpec, *, expected: bool) -> None:
    """
    A guest with UEFI firmware cannot start from a saved state: its UEFI variables are on a disk.

    A guest with the start mode `BOOTED` does not use a saved state either: the mode requests a
    boot.
    """
    assert spec.can_be_restored is expected
