"""Define the facts of preflight about the disks of a guest, as frozen data.

Sizes are in MiB unless the name says otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from migqual.hosts.domain_definition import Disk
from migqual.model.plan import Plan, StorageCopy
from migqual.probes.disk_images import CopyDestination, ImageInfo
from migqual.probes.fact import Fact


class DiskLocation(StrEnum):
    """The location of a disk, according to probes on both hosts.

    Attributes:
        SHARED: Both hosts open the same file.
        REMOTE: Both hosts open the same network disk or LUN.
        LOCAL: Only the source has the disk. The destination has no disk or a different disk at
            the path.
        UNREACHABLE: A host cannot open the network disk.
        AMBIGUOUS: The probes give no clear answer.
    """

    SHARED = "shared"
    REMOTE = "remote"
    LOCAL = "local"
    UNREACHABLE = "unreachable"
    AMBIGUOUS = "ambiguous"

    @property
    def is_common(self) -> bool:
        """Return whether both hosts use the same disk."""
        return self in {DiskLocation.SHARED, DiskLocation.REMOTE}

    @property
    def is_known(self) -> bool:
        """Return False if the location is ambiguous or unreachable, otherwise True."""
        return self not in {DiskLocation.AMBIGUOUS, DiskLocation.UNREACHABLE}


@dataclass(frozen=True)
class CopySpace:
    """The needed and the available space for the copy of a disk.

    Attributes:
        mount_point: Mount point of the file system at the destination.
    """

    needed_mib: int
    available_mib: int
    mount_point: str


@dataclass(frozen=True)
class FileSystem:
    """The type of a file system.

    Attributes:
        magic: Magic number of the type in statfs(2).
        name: Name of the type, for example ``nfs``. For a FUSE file system, the type in the mount
            table, for example ``fuse.glusterfs``.
    """

    magic: int
    name: str


@dataclass(frozen=True)
class DiskFact:
    """The facts about a disk of the guest.

    For a shared or remote disk, the fields `space`, `image`, `copy_destination` and
    `backing_file_equal` are None.

    Attributes:
        location: Whether the disk is shared, remote, local, unreachable or ambiguous.
        evidence: Observation from which preflight derived `location`, as a text for messages.
        filesystem: File system of a disk file at the source.
        backing_file_equal: Whether the destination has the same backing file. None means that the
            disk has no backing file, or that preflight did not compare the backing files.
    """

    disk: Disk
    location: DiskLocation
    evidence: str
    space: Fact[CopySpace] | None = None
    image: Fact[ImageInfo] | None = None
    copy_destination: Fact[CopyDestination] | None = None
    backing_file_equal: Fact[bool] | None = None
    filesystem: Fact[FileSystem] | None = None


@dataclass(frozen=True)
class StorageFacts:
    """The facts about the disks of a migration.

    Attributes:
        disks: All disks of the guest, without empty CD-ROM and floppy drives.
        disk_targets: Targets of all disks and drives of the guest.
        destination_targets: Targets of all disks and drives in the plan's domain XML for the
            destination. None means that the plan has no such XML.
    """

    source: str
    destination: str
    plan: Plan
    disks: tuple[DiskFact, ...]
    disk_targets: tuple[str, ...]
    destination_targets: tuple[str, ...] | None = None

    @property
    def copied_disks(self) -> tuple[DiskFact, ...]:
        """Return the disks that the plan copies.

        - If `copy_storage` of the plan is `NONE`, the result is empty.
        - If the plan names disks in `migrate_disks`, the result contains the named disks.
        - Otherwise the result contains all disks except read-only and shareable disks.
        """
        if self.plan.copy_storage is StorageCopy.NONE:
            return ()
        named_targets = self.plan.migrate_disks
        if named_targets:
            return tuple(fact for fact in self.disks if fact.disk.target in named_targets)
        return tuple(fact for fact in self.disks if fact.disk.is_copied_by_default)

    @property
    def copy_destinations(self) -> tuple[tuple[DiskFact, CopyDestination], ...]:
        """Return each copied disk together with the probed facts about its destination path.

        The result leaves out a disk if preflight did not probe the path, or if the probe failed.
        """
        return tuple(
            (fact, fact.copy_destination)
            for fact in self.copied_disks
            if isinstance(fact.copy_destination, CopyDestination)
        )


def format_disk_targets(facts: Iterable[DiskFact]) -> str:
    """Format the targets of disks for a message, for example ``vda, vdb``."""
    return ", ".join(fact.disk.target for fact in facts)


def format_disk_evidence(facts: Iterable[DiskFact]) -> str:
    """Format disks for a message, each with the evidence of the location: ``vda (evidence)``."""
    return "; ".join(f"{fact.disk.target} ({fact.evidence})" for fact in facts)
