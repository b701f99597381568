"""Predict whether libvirt's own safety check will refuse a disk (LM-SHR-02). No side effects.

libvirt's check (qemuMigrationSrcIsSafe) requires a shared file system for each disk file that
the plan does not copy. libvirt decides by the type of the file system (virFileIsSharedFS), not
by probes. libvirt also checks the cache mode of a disk, unless QEMU drops caches during a
migration. Preflight does not predict the result for the cache mode.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import Safety
from migqual.preflight.findings import report_ok, report_warning
from migqual.preflight.storage_facts import DiskFact, FileSystem, StorageFacts
from migqual.probes.fact import Missing

FINDING_ID = "LM-SHR-02.safety"
# Magic numbers in statfs(2) of the file systems that libvirt counts as shared. libvirt does not
# count SMB 2 and later as shared.
SHARED_FILESYSTEMS_BY_MAGIC = {
    0x6969: "nfs",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x6B414653: "afs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0x00C36400: "ceph",
    0x47504653: "gpfs",
    0x61636673: "acfs",
    0x19830326: "beegfs",
}
SHARED_FUSE_FILESYSTEMS = frozenset({"fuse.glusterfs", "fuse.quobyte"})
FILE_DISK_TYPES = frozenset({"file", "volume"})  # a volume of a directory pool is a file, too
REMEDY = (
    "see finding LM-SHR-01: if both hosts use the same file, migrate with `--unsafe`. Newer "
    "versions of libvirt also accept a file system that `shared_filesystems` of qemu.conf lists"
)


def check_libvirt_safety(storage: StorageFacts) -> Iterator[Finding]:
    """Check whether libvirt's safety check will refuse a disk file (LM-SHR-02.safety).

    The finding is a warning if libvirt will refuse, or may refuse, a migration without
    `--unsafe`. If the plan contains `--unsafe`, the finding is ok.
    """
    uncopied_disks = [
        fact
        for fact in storage.disks
        if fact.disk.type in FILE_DISK_TYPES
        and not fact.disk.readonly
        and fact not in storage.copied_disks
    ]
    unshared_disks = [fact for fact in uncopied_disks if not _is_on_shared_filesystem(fact)]
    identified_disks = [fact for fact in unshared_disks if isinstance(fact.filesystem, FileSystem)]
    disk_list = ", ".join(
        f"{fact.disk.target} ({_describe_filesystem(fact)})"
        for fact in identified_disks or unshared_disks
    )
    if not unshared_disks:
        yield report_ok(FINDING_ID, "libvirt's safety check is not expected to refuse a disk")
    elif storage.plan.safety is Safety.UNSAFE:
        yield report_ok(
            FINDING_ID, f"the plan skips libvirt's safety check of the disks {disk_list}"
        )
    elif identified_disks:
        yield report_warning(
            FINDING_ID,
            f"libvirt will refuse these disks, because libvirt does not count the file system as "
            f"shared: {disk_list}",
            REMEDY,
        )
    else:
        yield report_warning(
            FINDING_ID,
            f"libvirt may refuse these disks; preflight does not know their file systems on "
            f"the source: {disk_list}",
            REMEDY,
        )


def is_shared_filesystem(filesystem: FileSystem) -> bool:
    """Return whether libvirt counts a file system as shared."""
    return (
        filesystem.magic in SHARED_FILESYSTEMS_BY_MAGIC
        or filesystem.name in SHARED_FUSE_FILESYSTEMS
    )


def _is_on_shared_filesystem(fact: DiskFact) -> bool:
    return isinstance(fact.filesystem, FileSystem) and is_shared_filesystem(fact.filesystem)


def _describe_filesystem(fact: DiskFact) -> str:
    match fact.filesystem:
        case FileSystem(name=name):
            return name
        case Missing(reason=why):
            return why
    return f"preflight does not probe a disk of type {fact.disk.type}"
