"""List the storage pools of libvirt that keep image files in a folder, and create volumes.

libvirt describes the calls in https://libvirt.org/html/libvirt-libvirt-storage.html
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import libvirt
from lxml import etree

from migqual.errors import HostError
from migqual.hosts.connection import Connection

_FILE_POOL_TYPES = {"dir", "fs", "netfs"}


@dataclass(frozen=True)
class StoragePool:
    """An active storage pool of libvirt, with image files in `folder` on the host."""

    host: str
    name: str
    folder: PurePosixPath
    raw: Any

    def create_volume(self, xml: str) -> None:
        """Create a volume in the pool (virStorageVolCreateXML).

        Raises:
            HostError: libvirt refuses the volume, for example when the volume already exists.
        """
        try:
            self.raw.createXML(xml, 0)
        except libvirt.libvirtError as error:
            raise HostError(
                self.host, f"cannot create a volume in the storage pool {self.name}: {error}"
            ) from error


def list_file_pools(connection: Connection) -> tuple[StoragePool, ...]:
    """List the active storage pools of image files on a host (types dir, fs and netfs)."""
    flags = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
    raw_pools = connection.call_libvirt(
        "list storage pools", lambda c: c.listAllStoragePools(flags)
    )
    pools_with_xml = ((raw, etree.fromstring(raw.XMLDesc(0))) for raw in raw_pools)
    return tuple(
        StoragePool(
            connection.host, raw.name(), PurePosixPath(pool_xml.findtext("target/path") or "/"), raw
        )
        for raw, pool_xml in pools_with_xml
        if pool_xml.get("type") in _FILE_POOL_TYPES
    )
