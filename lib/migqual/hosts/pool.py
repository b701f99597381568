"""libvirt's storage pools, where they are folders.

Follows https://libvirt.org/html/libvirt-libvirt-storage.html
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import libvirt
from lxml import etree

from migqual.errors import HostError
from migqual.hosts.connection import Connection

_FOLDERS = {"dir", "fs", "netfs"}


@dataclass(frozen=True)
class Pool:
    """A pool of image files that is active."""

    host: str
    name: str
    folder: PurePosixPath
    raw: Any

    def create(self, xml: str) -> None:
        """A new volume (virStorageVolCreateXML). Raises `HostError`, also when it is there."""
        try:
            self.raw.createXML(xml, 0)
        except libvirt.libvirtError as error:
            raise HostError(self.host, f"pool {self.name}: {error}") from error


def pools(connection: Connection) -> tuple[Pool, ...]:
    """The active pools of image files on one host."""
    flags = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
    found = connection.call("list storage pools", lambda c: c.listAllStoragePools(flags))
    described = ((raw, etree.fromstring(raw.XMLDesc(0))) for raw in found)
    return tuple(
        Pool(connection.host, raw.name(), PurePosixPath(root.findtext("target/path") or "/"), raw)
        for raw, root in described
        if root.get("type") in _FOLDERS
    )
