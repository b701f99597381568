"""Stores of an inventory, which are places for disk images."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import ClassVar


class StoreKind(StrEnum):
    """Kind of a store, which is a place for disk images."""

    DIRECTORY = "directory"
    NBD = "nbd"
    ISCSI = "iscsi"
    LOCAL = "local"


@dataclass(frozen=True)
class DirectoryStore:
    """A shared directory, with the same path and contents on each host named in `hosts`."""

    kind: ClassVar[StoreKind] = StoreKind.DIRECTORY
    name: str
    path: PurePosixPath
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class NbdStore:
    """Disk images in `directory` on the host `server`, each served over NBD on its own port."""

    kind: ClassVar[StoreKind] = StoreKind.NBD
    name: str
    server: str
    address: str
    directory: PurePosixPath
    ports: range = range(10809, 10900)


@dataclass(frozen=True)
class IscsiStore:
    """Disk images in `directory` on the host `server`, served over iSCSI.

    Attributes:
        target: First part of the iSCSI target name of each disk.
    """

    kind: ClassVar[StoreKind] = StoreKind.ISCSI
    name: str
    server: str
    address: str
    target: str
    directory: PurePosixPath
    port: int = 3260


@dataclass(frozen=True)
class LocalStore:
    """A local directory, with the same path but separate contents on each hypervisor."""

    kind: ClassVar[StoreKind] = StoreKind.LOCAL
    name: str
    path: PurePosixPath


Store = DirectoryStore | NbdStore | IscsiStore | LocalStore
