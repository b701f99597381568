"""Pure: whether libvirt's own safety check will let the guest go, LM-SHR-02.

Follows qemuMigrationSrcIsSafe and virFileIsSharedFS of libvirt: a disk file that is not copied must
lie on a file system that libvirt knows to be shared, whatever probes find.
"""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import Safety
from migqual.preflight.facts import DiskFact, Storage
from migqual.preflight.verdicts import ok, warning

NAME = "LM-SHR-02.safety"
TRUSTED = frozenset(
    (
        *("acfs", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.quobyte", "gfs2"),
        *("gpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"),
    )
)


def trusted(storage: Storage) -> Iterator[Finding]:
    """A warning where libvirt will refuse unless it is told `--unsafe`."""
    files = [
        fact
        for fact in storage.disks
        if fact.disk.type == "file" and not fact.disk.readonly and fact not in storage.copied
    ]
    doubted = [fact for fact in files if fact.filesystem not in TRUSTED]
    if not doubted:
        yield ok(NAME, "libvirt's safety check has no disk file to object to")
    elif storage.plan.safety is Safety.UNSAFE:
        yield ok(
            NAME, f"the plan skips libvirt's safety check, which would refuse {_told(doubted)}"
        )
    else:
        yield warning(
            NAME,
            f"libvirt will take it for unsafe, since it knows no shared file system in "
            f"{_told(doubted)}",
            "where both hosts use one file (LM-SHR-01), override that: `--unsafe`, or "
            "`shared_filesystems` in qemu.conf where libvirt has it",
        )


def _told(facts: list[DiskFact]) -> str:
    return ", ".join(f"{_system(fact)} ({fact.disk.target})" for fact in facts)


def _system(fact: DiskFact) -> str:
    return (
        fact.filesystem if isinstance(fact.filesystem, str) else "a file system that is not known"
    )
