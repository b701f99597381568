"""Build ISO 9660 volumes with a few files in the root folder, for cloud-init."""

import struct
from collections.abc import Mapping

from migqual.errors import LabError

SECTOR_BYTES = 2048
(
    _DESCRIPTOR_SECTOR,
    _TERMINATOR_SECTOR,
    _PATH_TABLE_LE_SECTOR,
    _PATH_TABLE_BE_SECTOR,
    _ROOT_SECTOR,
    _FIRST_FILE_SECTOR,
) = 16, 17, 18, 19, 20, 21


def build_iso_volume(label: str, files: Mapping[str, bytes]) -> bytes:
    """Build the bytes of an ISO 9660 volume with the files in the root folder.

    The format follows ECMA-119 with one exception: file names may contain dashes. The volume
    stores names in capital letters; Linux shows small letters. The same files always give the same
    bytes.

    Args:
        label: Label of the volume, up to 32 characters.
        files: Contents by file name.

    Raises:
        LabError: The list of the files needs more than one sector of 2048 bytes.
    """
    next_sector, file_sectors = _FIRST_FILE_SECTOR, {}
    for name, data in sorted(files.items()):
        file_sectors[name] = next_sector
        next_sector += -(-len(data) // SECTOR_BYTES)
    file_records = b"".join(
        _build_directory_record(f"{name.upper()};1".encode(), file_sectors[name], len(data))
        for name, data in sorted(files.items())
    )
    root_record = _build_directory_record(b"\0", _ROOT_SECTOR, SECTOR_BYTES, is_folder=True)
    directory = (
        root_record
        + _build_directory_record(b"\1", _ROOT_SECTOR, SECTOR_BYTES, is_folder=True)
        + file_records
    )
    if len(directory) > SECTOR_BYTES:
        raise LabError(
            f"{len(files)} files are too many for the ISO 9660 volume {label}: the list of files "
            f"may take at most {SECTOR_BYTES} bytes. Use fewer files or shorter file names"
        )
    sections = [
        bytes(SECTOR_BYTES * _DESCRIPTOR_SECTOR),
        _build_volume_descriptor(label, next_sector, root_record),
        b"\xffCD001\1",
    ]
    sections += [struct.pack("<BBIHBB", 1, 0, _ROOT_SECTOR, 1, 0, 0)]
    sections += [struct.pack(">BBIHBB", 1, 0, _ROOT_SECTOR, 1, 0, 0), directory]
    sections += [data for _, data in sorted(files.items())]
    return b"".join(section + bytes(-len(section) % SECTOR_BYTES) for section in sections)


def _encode_both_endian32(value: int) -> bytes:
    """Encode a 32-bit number in little-endian and then in big-endian byte order (ECMA-119)."""
    return struct.pack("<I", value) + struct.pack(">I", value)


def _encode_both_endian16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _build_directory_record(
    name: bytes, sector: int, size: int, *, is_folder: bool = False
) -> bytes:
    padding = b"\0" * (1 - len(name) % 2)
    header = (
        bytes([33 + len(name) + len(padding), 0])
        + _encode_both_endian32(sector)
        + _encode_both_endian32(size)
    )
    # 1 January 2000: with a fixed time, the bytes of a volume depend only on label and files.
    time_and_flags = bytes([100, 1, 1, 0, 0, 0, 0, 2 if is_folder else 0, 0, 0])
    return header + time_and_flags + _encode_both_endian16(1) + bytes([len(name)]) + name + padding


def _build_volume_descriptor(label: str, sector_count: int, root_record: bytes) -> bytes:
    descriptor = (
        b"\1CD001\1\0"
        + b" " * 32
        + label.encode().ljust(32)
        + bytes(8)
        + _encode_both_endian32(sector_count)
    )
    descriptor += (
        bytes(32)
        + _encode_both_endian16(1)
        + _encode_both_endian16(1)
        + _encode_both_endian16(SECTOR_BYTES)
        + _encode_both_endian32(10)
    )
    descriptor += struct.pack("<II", _PATH_TABLE_LE_SECTOR, 0) + struct.pack(
        ">II", _PATH_TABLE_BE_SECTOR, 0
    )
    descriptor += root_record + b" " * (128 * 4) + b" " * (37 * 3)
    unset_date = b"0" * 16 + b"\0"
    return descriptor + unset_date * 4 + b"\1\0"
