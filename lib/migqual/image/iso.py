"""Write ISO 9660 volumes: a few files in one folder, as a cloud-init seed needs them."""

import struct
from collections.abc import Mapping

from migqual.errors import LabError

SECTOR = 2048
_VOLUME, _END, _TABLE_LITTLE, _TABLE_BIG, _ROOT, _FILES = 16, 17, 18, 19, 20, 21


def volume(label: str, files: Mapping[str, bytes]) -> bytes:
    """A volume of that label with `files` in its root folder.

    Names are stored in capitals as they are, dashes included, which the standard's strictest
    level forbids; Linux shows them in small letters. The same files give the same bytes.
    Follows ECMA-119. Raises `LabError` when the files do not fit one sector of folder.
    """
    at, places = _FILES, {}
    for name, data in sorted(files.items()):
        places[name] = at
        at += -(-len(data) // SECTOR)
    records = b"".join(
        _record(f"{name.upper()};1".encode(), places[name], len(data))
        for name, data in sorted(files.items())
    )
    root = _record(b"\0", _ROOT, SECTOR, folder=True)
    folder = root + _record(b"\1", _ROOT, SECTOR, folder=True) + records
    if len(folder) > SECTOR:
        raise LabError(f"{len(files)} files are too many for a seed volume")
    parts = [bytes(SECTOR * _VOLUME), _descriptor(label, at, root), b"\xffCD001\1"]
    parts += [struct.pack("<BBIHBB", 1, 0, _ROOT, 1, 0, 0)]
    parts += [struct.pack(">BBIHBB", 1, 0, _ROOT, 1, 0, 0), folder]
    parts += [data for _, data in sorted(files.items())]
    return b"".join(part + bytes(-len(part) % SECTOR) for part in parts)


def _both(value: int) -> bytes:
    """A 32-bit number in both byte orders, as the standard wants it."""
    return struct.pack("<I", value) + struct.pack(">I", value)


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _record(name: bytes, sector: int, size: int, *, folder: bool = False) -> bytes:
    padding = b"\0" * (1 - len(name) % 2)
    head = bytes([33 + len(name) + len(padding), 0]) + _both(sector) + _both(size)
    # 1 January 2000: a fixed time, so that a seed depends on its contents alone.
    when_and_flags = bytes([100, 1, 1, 0, 0, 0, 0, 2 if folder else 0, 0, 0])
    return head + when_and_flags + _both16(1) + bytes([len(name)]) + name + padding


def _descriptor(label: str, sectors: int, root: bytes) -> bytes:
    text = b"\1CD001\1\0" + b" " * 32 + label.encode().ljust(32) + bytes(8) + _both(sectors)
    text += bytes(32) + _both16(1) + _both16(1) + _both16(SECTOR) + _both(10)
    text += struct.pack("<II", _TABLE_LITTLE, 0) + struct.pack(">II", _TABLE_BIG, 0)
    text += root + b" " * (128 * 4) + b" " * (37 * 3)
    never = b"0" * 16 + b"\0"
    return text + never * 4 + b"\1\0"
