"""Pure: from what both hosts saw of a disk to where it is."""

from dataclasses import dataclass

from migqual.preflight.definition import Disk
from migqual.preflight.facts import Fact, Missing, Place


@dataclass(frozen=True)
class FileView:
    """A file as one host sees it; `folder` is the real one, sizes in bytes, time in s."""

    host: str
    folder: str
    exists: bool
    inode: int = 0
    size: int = 0
    modified: int = 0
    allocated: int = 0


@dataclass(frozen=True)
class Block:
    """A block device or export as one host sees it.

    length  as QEMU's tool says it
    rows    the first block
    name    what the device calls itself (WWN, serial); empty for exports
    """

    host: str
    length: str
    rows: tuple[str, ...]
    name: str = ""


def place_of_file(
    here: FileView, there: FileView, *, token_seen: bool | None, locked: bool
) -> tuple[Place, str]:
    """Where a disk file is. `locked`: the destination knows of the lock that QEMU holds on it.

    token_seen None: no token could be written.
    """
    same = there.exists and here.inode == there.inode
    if same and token_seen:
        return Place.SHARED, f"a token written through {here.host} is seen through {there.host}"
    if same and locked:
        return Place.SHARED, f"{there.host} sees the same inode and the lock that QEMU holds on it"
    if token_seen:
        words = "another file there" if there.exists else "no such file there"
        return Place.AMBIGUOUS, f"the folder is shared, yet {there.host} has {words}"
    if not there.exists:
        return Place.LOCAL, f"{there.host} has no such file"
    if not same:
        return Place.LOCAL, f"{there.host} has another file of that name"
    if token_seen is None:
        return Place.AMBIGUOUS, "looks like one file from both hosts; no token was written"
    return Place.LOCAL, f"a token written through {here.host} is not seen through {there.host}"


def place_of_block(disk: Disk, here: Fact[Block], there: Fact[Block]) -> tuple[Place, str]:
    """Where a block device or an export is."""
    remote = disk.type == "network"
    if isinstance(here, Missing):
        return (Place.UNREACHABLE if remote else Place.AMBIGUOUS), here.why
    if isinstance(there, Missing):
        return (Place.UNREACHABLE if remote else Place.LOCAL), there.why
    if here.length != there.length:
        return Place.LOCAL, f"{here.length} at {here.host}, {there.length} at {there.host}"
    if here.name != there.name:
        return Place.LOCAL, f"{here.name} at {here.host}, {there.name} at {there.host}"
    if here.rows != there.rows:
        return Place.LOCAL, "the two hosts read different first blocks"
    if not remote and not here.name:
        return Place.AMBIGUOUS, "same size and first block, but the device has no name of its own"
    name = f"named {here.name}, " if here.name else ""
    return Place.REMOTE, f"both hosts open it: {name}{here.length}, the same first block"
