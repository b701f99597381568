"""Write cpio archives (format newc) that a kernel unpacks as its first root."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"070701"
_END = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """One thing in an archive. `data` is a file's contents or a symbolic link's target."""

    mode: int
    data: bytes = b""
    major: int = 0
    minor: int = 0


def folder(mode: int = 0o755) -> Entry:
    return Entry(stat.S_IFDIR | mode)


def file(data: bytes, mode: int = 0o644) -> Entry:
    return Entry(stat.S_IFREG | mode, data)


def link(target: str) -> Entry:
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def character(major: int, minor: int, mode: int = 0o600) -> Entry:
    return Entry(stat.S_IFCHR | mode, major=major, minor=minor)


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive of `entries` by path (relative, no leading slash).

    Missing parent folders are added. The same entries give the same bytes: sorted, all of root,
    time 0. Follows the kernel's documentation of the initramfs buffer format.
    """
    whole = {**{parent: folder() for path in entries for parent in _parents(path)}, **entries}
    parts = [_member(number, path, whole[path]) for number, path in enumerate(sorted(whole), 1)]
    data = b"".join([*parts, _member(0, _END, Entry(0))])
    return data + b"\0" * (-len(data) % 512)


def _parents(path: str) -> list[str]:
    words = path.split("/")[:-1]
    return ["/".join(words[: count + 1]) for count in range(len(words))]


def _member(number: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    owner_and_time = (0, 0, links, 0)
    fields = [number, entry.mode, *owner_and_time, len(entry.data), 0, 0]
    fields += [entry.major, entry.minor, len(name), 0]
    head = MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
