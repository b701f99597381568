"""Pure: whether libvirt's own safety check will object to the disks, LM-SHR-02.

Foretells the part of qemuMigrationSrcIsSafe that goes by the file system (virFileIsSharedFS): a
disk file that is not copied must lie on one that libvirt counts as shared, whatever probes find.
The part that goes by the cache mode has nothing to say where QEMU drops caches as a guest moves.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import Safety
from migqual.preflight.facts import DiskFact, FileSystem, Missing, Storage
from migqual.preflight.verdicts import ok, warning

NAME = "LM-SHR-02.safety"
# What statfs(2) says of those that libvirt counts as shared. SMB 2 and later are not among them.
SHARED = {
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
SHARED_BY_FUSE = frozenset({"fuse.glusterfs", "fuse.quobyte"})
ASKED = frozenset({"file", "volume"})  # a volume of a directory pool is a file, too
REMEDY = (
    "where both hosts use one file (LM-SHR-01), override that: `--unsafe`, or `shared_filesystems` "
    "in qemu.conf where libvirt has it"
)


def trusted(storage: Storage) -> Iterator[Finding]:
    """A warning where libvirt will refuse, or may, unless it is told `--unsafe`."""
    asked = [
        fact
        for fact in storage.disks
        if fact.disk.type in ASKED and not fact.disk.readonly and fact not in storage.copied
    ]
    doubted = [fact for fact in asked if not _shared(fact)]
    known = [fact for fact in doubted if isinstance(fact.filesystem, FileSystem)]
    told = ", ".join(f"{fact.disk.target} ({_told(fact)})" for fact in known or doubted)
    if not doubted:
        yield ok(NAME, "libvirt's safety check has no disk file to object to")
    elif storage.plan.safety is Safety.UNSAFE:
        yield ok(NAME, f"the plan skips libvirt's safety check, which may object to {told}")
    elif known:
        yield warning(
            NAME, f"libvirt counts no shared file system under {told}, and refuses", REMEDY
        )
    else:
        yield warning(NAME, f"libvirt may refuse: it is not known what is under {told}", REMEDY)


def _shared(fact: DiskFact) -> bool:
    found = fact.filesystem
    return isinstance(found, FileSystem) and (found.magic in SHARED or found.name in SHARED_BY_FUSE)


def _told(fact: DiskFact) -> str:
    match fact.filesystem:
        case FileSystem(name=name):
            return name
        case Missing(why=why):
            return why
    return f"a {fact.disk.type}"
