"""Build cpio archives in the format newc, for the initramfs of a Linux kernel."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"070701"
_TRAILER_NAME = "TRAILER!!!"


@dataclass(frozen=True)
class CpioEntry:
    """An entry of a cpio archive: a folder, file, symbolic link or device.

    Attributes:
        mode: File type and permissions, as in `st_mode`.
        data: Contents of a file, or target of a symbolic link.
        major: Major number of a device.
        minor: Minor number of a device.
    """

    mode: int
    data: bytes = b""
    major: int = 0
    minor: int = 0


def make_folder_entry(mode: int = 0o755) -> CpioEntry:
    """Make the cpio entry of a folder with the permissions `mode`."""
    return CpioEntry(stat.S_IFDIR | mode)


def make_file_entry(data: bytes, mode: int = 0o644) -> CpioEntry:
    """Make the cpio entry of a regular file with the contents `data`."""
    return CpioEntry(stat.S_IFREG | mode, data)


def make_symlink_entry(target: str) -> CpioEntry:
    """Make the cpio entry of a symbolic link to `target`."""
    return CpioEntry(stat.S_IFLNK | 0o777, target.encode())


def make_character_device_entry(major: int, minor: int, mode: int = 0o600) -> CpioEntry:
    """Make the cpio entry of a character device with the given device numbers."""
    return CpioEntry(stat.S_IFCHR | mode, major=major, minor=minor)


def build_cpio_archive(entries: Mapping[str, CpioEntry]) -> bytes:
    """Build a cpio archive of the entries, and add an entry for each missing parent folder.

    The same entries always give the same bytes: entries are sorted, the owner is root, and the
    time is 0. The format follows "initramfs buffer format" in the kernel's documentation.

    Args:
        entries: Entry by path. A path is relative, without a leading slash.

    Returns:
        The archive, padded to a multiple of 512 bytes.
    """
    all_entries = {
        **{parent: make_folder_entry() for path in entries for parent in _list_parents(path)},
        **entries,
    }
    members = [
        _encode_member(number, path, all_entries[path])
        for number, path in enumerate(sorted(all_entries), 1)
    ]
    data = b"".join([*members, _encode_member(0, _TRAILER_NAME, CpioEntry(0))])
    return data + b"\0" * (-len(data) % 512)


def _list_parents(path: str) -> list[str]:
    path_parts = path.split("/")[:-1]
    return ["/".join(path_parts[: count + 1]) for count in range(len(path_parts))]


def _encode_member(number: int, path: str, entry: CpioEntry) -> bytes:
    name = path.encode() + b"\0"
    link_count = 2 if stat.S_ISDIR(entry.mode) else 1
    owner_and_time = (0, 0, link_count, 0)
    fields = [number, entry.mode, *owner_and_time, len(entry.data), 0, 0]
    fields += [entry.major, entry.minor, len(name), 0]
    header = MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return _pad_to_4_bytes(header) + _pad_to_4_bytes(entry.data)


def _pad_to_4_bytes(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
