"""Restore any number of new guests from a saved state of libvirt.

libvirt restores a domain only with the name and the UUID in the header of the save file. The
module therefore rewrites the header before each restore. The code follows virDomainSave,
virDomainRestore and the file header of libvirt since 3.10 (struct _virQEMUSaveHeader, version 2):

    magic[16] version length was_running compressed cookie_offset unused[14]  (uint32 each)
    XML, NUL-terminated; cookie, NUL-terminated; padding (`length` bytes in total)
    QEMU's migration stream
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual.errors import ConnectionLost, HostError, RestoreFailed
from migqual.hosts.cached_state import CachedState
from migqual.hosts.host import Host
from migqual.model.guest_spec import GuestSpec

_MAGIC = b"LibvirtQemudSave"
_VERSION = 2
_HEADER = struct.Struct("<16s5I56x")
_MAX_BODY_BYTES = 1 << 18  # bytes of XML, cookie and padding; libvirt writes some 80 KiB
_MAC_PATTERN = re.compile(r"<mac address=['\"]([0-9a-f:]{17})['\"]")


@dataclass(frozen=True)
class SaveHeader:
    """The part of a save file before QEMU's migration stream.

    Attributes:
        length: Number of bytes for XML, cookie and padding.
        was_running: Field `was_running` of libvirt's header, kept unchanged.
        cookie: Additional XML of libvirt (the cookie) with the final NUL; may be empty.
        macs: MAC addresses of the NICs, in the order of the definition.
    """

    length: int
    was_running: int
    cookie: bytes = field(repr=False)
    macs: tuple[str, ...] = ()

    def render_with_xml(self, xml: str) -> bytes:
        """Render the header of the save file with `xml` in place of the original domain XML.

        The new header has the same length as the old header, because QEMU's migration stream
        follows in the file.

        Raises:
            ValueError: The XML does not fit in the header of the save file.
        """
        xml_bytes = xml.encode() + b"\0"
        body = xml_bytes + self.cookie
        if len(body) > self.length:
            raise ValueError(
                f"the domain XML and the cookie (additional XML of libvirt) need {len(body)} bytes "
                f"in the header of the save file, but the file has only {self.length} bytes"
            )
        cookie_offset = len(xml_bytes) if self.cookie else 0
        header = _HEADER.pack(_MAGIC, _VERSION, self.length, self.was_running, 0, cookie_offset)
        return header + body.ljust(self.length, b"\0")


def parse_save_header(data: bytes) -> SaveHeader:
    """Parse the header of a save file.

    Args:
        data: Beginning of the file. Bytes after the header are ignored.

    Returns:
        The header.

    Raises:
        ValueError: The file is not a save file of libvirt, is incomplete or compressed, or has an
            unknown format.
    """
    if len(data) < _HEADER.size:
        raise ValueError("the file is shorter than a save header")
    magic, version, length, was_running, compressed, cookie_offset = _HEADER.unpack_from(data)
    if (magic, version, compressed) != (_MAGIC, _VERSION, 0):
        raise ValueError(
            "the header is not a known header of a libvirt save file: "
            f"magic {magic!r}, version {version}, compression {compressed}"
        )
    if length > _MAX_BODY_BYTES or len(data) < _HEADER.size + length:
        raise ValueError(
            "the save file is incomplete or has too much XML: the header announces "
            f"{length} bytes of XML, but migqual read only {len(data)} bytes of the file"
        )
    cookie = data[_HEADER.size + cookie_offset : _HEADER.size + length] if cookie_offset else b""
    xml = data[_HEADER.size : _HEADER.size + length].partition(b"\0")[0].decode(errors="replace")
    macs = tuple(_MAC_PATTERN.findall(xml))
    return SaveHeader(length, was_running, cookie.rstrip(b"\0") + b"\0" if cookie else b"", macs)


@dataclass(frozen=True)
class SavedState:
    """The saved state of a guest, in a file on a host.

    Attributes:
        host: The host with the file.
        path: Path of the file.
        header: Header of the file.
        cached_state: The file in the cache from which `path` was copied; None when this process
            created the state.
    """

    host: Host
    path: PurePosixPath
    header: SaveHeader
    cached_state: CachedState | None = None

    def restore(self, xml: str) -> None:
        """Restore the saved state as a new guest, with the domain XML `xml`.

        The method writes the XML into the header of the save file before the restore.

        Raises:
            RestoreFailed: The XML does not fit in the header, or libvirt does not restore the
                domain. In the second case the error has libvirt's message.
            ConnectionLost: The connection to the host broke.
        """
        try:
            header_bytes = self.header.render_with_xml(xml)
        except ValueError as error:
            raise RestoreFailed(
                self.host.name,
                f"migqual cannot restore a guest from the save file {self.path}: {error}",
            ) from error
        dd_argv = ("dd", f"of={self.path}", "bs=1M", "conv=notrunc", "status=none")
        self.host.shell.run(*dd_argv, stdin=header_bytes)
        try:
            self.host.libvirt.restore_domain(self.path)
        except ConnectionLost:
            raise
        except HostError as error:
            raise RestoreFailed(self.host.name, error.message) from error


class SavedStateRegistry:
    """The saved states (libvirt save files) that migqual can restore, by host and guest spec.

    Attributes:
        restore_failures: Error message of a failed save or restore, by host name. On these hosts,
            all later guests boot and are not restored.

    Args:
        create_state: Function that creates the saved state for a spec on a host.
    """

    def __init__(self, create_state: Callable[[GuestSpec, Host], SavedState]) -> None:
        self._create_state = create_state
        self._states: dict[tuple[str, GuestSpec], SavedState] = {}
        self.restore_failures: dict[str, str] = {}

    def find_or_create(self, spec: GuestSpec, host: Host) -> SavedState | None:
        """Find the saved state for `spec` on `host`, or create the state.

        To create a state, migqual copies the state from the cache of the host, or boots and saves a
        temporary guest.

        Returns:
            The state. None if the guest must boot, because the spec or the host allows no restore.

        Raises:
            ConnectionLost: The connection to the host broke.
            GuestError: The temporary guest does not boot.
            TimedOut: The payload (migqual's program) in the temporary guest does not answer.
        """
        if host.name in self.restore_failures or not spec.can_be_restored:
            return None
        key = (host.name, spec.derive_saved_state_spec())
        if key not in self._states:
            try:
                self._states[key] = self._create_state(spec.derive_saved_state_spec(), host)
            except ConnectionLost:
                raise
            except HostError as error:
                self.disable_restore(host, error)
                return None
        return self._states[key]

    def replace_failed(self, spec: GuestSpec, host: Host, error: HostError) -> SavedState | None:
        """Replace the saved state for `spec` on `host` after a failed restore.

        If the state came from the cache, the method removes the state from the cache and creates a
        new state. If this process created the state, the method creates no other state. All later
        guests of the host then boot, and are not restored.

        Args:
            spec: Spec of the guest.
            host: The host with the state.
            error: Error of the restore.

        Returns:
            The new state; None if the guest must boot, because no state can be restored.
        """
        failed_state = self._states.pop((host.name, spec.derive_saved_state_spec()))
        if failed_state.cached_state is None:
            self.disable_restore(host, error)
            return None
        failed_state.cached_state.remove_file()
        return self.find_or_create(spec, host)

    def disable_restore(self, host: Host, error: HostError) -> None:
        """Mark `host` as unable to restore guests, with the message of `error` as the reason."""
        self.restore_failures[host.name] = error.message


def read_save_header(host: Host, path: PurePosixPath) -> SaveHeader:
    """Read the header of a save file on a host.

    Raises:
        HostError: The file is not a save file in libvirt's format.
    """
    try:
        return parse_save_header(host.shell.read_file(path, _HEADER.size + _MAX_BODY_BYTES))
    except ValueError as error:
        raise HostError(host.name, f"migqual cannot read the save file {path}: {error}") from error
