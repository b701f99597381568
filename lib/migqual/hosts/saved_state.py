"""Guests that libvirt saved at rest, to be restored as often as wanted, each as a guest of its own.

libvirt restores a domain only under the name and UUID that it was saved with: these are in the head
of the file, which is edited in place before each restore. Follows virDomainSave, virDomainRestore
and the file's head as libvirt has written it since 3.10 (struct _virQEMUSaveHeader, version 2):

    magic[16]  version  length  was_running  compressed  cookie_offset  unused[14]    (uint32 each)
    XML, NUL-terminated; cookie, NUL-terminated; padding: `length` bytes together
    QEMU's migration stream
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual.errors import ConnectionLost, HostError, RestoreFailed
from migqual.hosts.host import Host
from migqual.hosts.state_folder import KeptState
from migqual.model.guest import Architecture, GuestSpec

_MAGIC = b"LibvirtQemudSave"
_VERSION = 2
_HEAD = struct.Struct("<16s5I56x")
_LONGEST = 1 << 18  # bytes of XML, cookie and padding; libvirt writes some 80 KiB
_MAC = re.compile(r"<mac address=['\"]([0-9a-f:]{17})['\"]")


@dataclass(frozen=True)
class SaveHead:
    """Everything of a save file before QEMU's stream.

    length  bytes between the two
    macs    MAC addresses of the NICs, in the order of the definition
    """

    length: int
    was_running: int
    cookie: bytes = field(repr=False)
    macs: tuple[str, ...] = ()

    def render(self, xml: str) -> bytes:
        """The head of the same state under another definition. Raises `ValueError` where `xml` is
        too long for the file."""
        text = xml.encode() + b"\0"
        body = text + self.cookie
        if len(body) > self.length:
            raise ValueError(f"{len(body)} bytes of XML and cookie, {self.length} are there")
        offset = len(text) if self.cookie else 0
        head = _HEAD.pack(_MAGIC, _VERSION, self.length, self.was_running, 0, offset)
        return head + body.ljust(self.length, b"\0")


def parse_head(data: bytes) -> SaveHead:
    """Read the head of a save file; `data` may go on after it.

    Raises `ValueError` for a file that is none of libvirt's, is not complete, is compressed, or has
    a format that is not known here.
    """
    if len(data) < _HEAD.size:
        raise ValueError("shorter than a head")
    magic, version, length, was_running, compressed, offset = _HEAD.unpack_from(data)
    if (magic, version, compressed) != (_MAGIC, _VERSION, 0):
        raise ValueError(f"magic {magic!r}, version {version}, compression {compressed}")
    if length > _LONGEST or len(data) < _HEAD.size + length:
        raise ValueError(f"{length} bytes of XML are announced, {len(data)} are there")
    cookie = data[_HEAD.size + offset : _HEAD.size + length] if offset else b""
    xml = data[_HEAD.size : _HEAD.size + length].partition(b"\0")[0].decode(errors="replace")
    macs = tuple(_MAC.findall(xml))
    return SaveHead(length, was_running, cookie.rstrip(b"\0") + b"\0" if cookie else b"", macs)


@dataclass(frozen=True)
class SavedState:
    """One guest at rest in a file on `host`.

    kept  where the file was copied from, when an earlier run or another worker made it
    """

    host: Host
    path: PurePosixPath
    head: SaveHead
    kept: KeptState | None = None

    def restore(self, xml: str) -> None:
        """Run it as the domain that `xml` defines. Raises `RestoreFailed` with libvirt's words."""
        try:
            head = self.head.render(xml)
        except ValueError as error:
            raise RestoreFailed(self.host.name, f"{self.path}: {error}") from error
        overwrite = ("dd", f"of={self.path}", "bs=1M", "conv=notrunc", "status=none")
        self.host.shell.run(*overwrite, stdin=head)
        try:
            self.host.libvirt.restore(self.path)
        except ConnectionLost:
            raise
        except HostError as error:
            raise RestoreFailed(self.host.name, error.message) from error


class SavedStates:
    """The saved states of one process, one for each shape of guest and host.

    save     makes the state of a shape on a host
    trouble  host to the reason why its guests are booted and not restored
    """

    def __init__(self, save: Callable[[GuestSpec, Host], SavedState]) -> None:
        self._save = save
        self._made: dict[tuple[str, GuestSpec], SavedState] = {}
        self.trouble: dict[str, str] = {}

    def find(self, spec: GuestSpec, host: Host) -> SavedState | None:
        """The state that serves `spec` on `host`, made if there is none yet. None where guests of
        the spec, or of the host, boot. Raises `ConnectionLost`, and what a boot raises."""
        if host.name in self.trouble or not spec.can_be_restored:
            return None
        if Architecture(str(host.libvirt.node()["arch"])) is not Architecture.X86_64:
            return None  # its firmware keeps variables in a file of their own
        key = (host.name, spec.shape())
        if key not in self._made:
            try:
                self._made[key] = self._save(spec.shape(), host)
            except ConnectionLost:
                raise
            except HostError as error:
                self.give_up(host, error)
                return None
        return self._made[key]

    def replace(self, spec: GuestSpec, host: Host, error: HostError) -> SavedState | None:
        """Make the state that serves `spec` on `host` anew, after a restore failed with `error`.

        Only a state that was kept from elsewhere is replaced. A restore that fails although the
        state was just made gives the host up: returns None, and its guests boot.
        """
        failed = self._made.pop((host.name, spec.shape()))
        if failed.kept is None:
            self.give_up(host, error)
            return None
        failed.kept.remove()
        return self.find(spec, host)

    def give_up(self, host: Host, error: HostError) -> None:
        """Boot the guests of `host` from now on."""
        self.trouble[host.name] = error.message


def read_head(host: Host, path: PurePosixPath) -> SaveHead:
    """The head of a file that libvirt saved. Raises `HostError` where it cannot be understood."""
    try:
        return parse_head(host.shell.get(path, _HEAD.size + _LONGEST))
    except ValueError as error:
        raise HostError(
            host.name, f"{path}: not a save file as libvirt writes it: {error}"
        ) from error
