"""Where each disk is, found by probes on both hosts; never by a path or a file system's name.

Files: a lock taken on the image through one host and looked for through the other, which finds one
file under whatever paths; a token written beside it, the image's inode, and the lock that a running
QEMU holds. Block devices and network disks: both hosts open them and read the same identity.
"""

import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.preflight import images
from migqual.preflight.definition import Disk
from migqual.preflight.facts import (
    DiskFact,
    Fact,
    FileSystem,
    Image,
    Missing,
    Place,
    Space,
    Target,
)
from migqual.preflight.places import Block, FileView, place_of_block, place_of_file
from migqual.preflight.tools import Probes, Tools, had, token_name

_READ = ("-r", "-U", "-f", "raw", "-c", "length", "-c", "read -v 0 4096")
_TRIES = 3
_FUSE = 0x65735546  # what statfs(2) says of any file system in user space


@dataclass(frozen=True)
class Prober:
    """Looks at disks of one guest from both hosts.

    elsewhere  by target: the disk as the destination is to have it, where that differs
    """

    source: Host
    destination: Host
    tools: Tools
    pool: Executor
    elsewhere: Mapping[str, Disk] = field(default_factory=dict)

    def disk(self, disk: Disk) -> DiskFact:
        """Where one disk is. Never raises: what cannot be probed is ambiguous."""
        if disk.type != "file":
            return self._fact(disk)
        ahead = self.pool.submit(had, lambda: _filesystem(self.source, disk.source))
        fact = self._fact(disk)
        return replace(fact, filesystem=ahead.result())

    def _fact(self, disk: Disk) -> DiskFact:
        if disk.locked:
            return DiskFact(disk, Place.AMBIGUOUS, "its credentials are libvirt's own")
        if not disk.source:
            return DiskFact(disk, Place.AMBIGUOUS, f"disks of type {disk.type} are not probed")
        there = self.elsewhere.get(disk.target, disk)
        try:
            place, evidence = self._place(disk, there)
        except HostError as error:
            return DiskFact(disk, Place.AMBIGUOUS, error.message)
        if place.common:
            return DiskFact(disk, place, evidence)
        if disk.type != "file":
            why = Missing(f"room for a disk of type {disk.type} is not known")
            return DiskFact(disk, place, evidence, why, target=self._target(there))
        image = had(lambda: images.describe(self.source, disk.source, disk.format))
        target = self._target(there)
        return DiskFact(
            disk,
            place,
            evidence,
            self._space(image, target),
            image=image,
            target=target,
            backing_equal=self._backing(image),
        )

    def _place(self, disk: Disk, there: Disk) -> tuple[Place, str]:
        if disk.type == "file" and there.type == "file":
            return self._file(PurePosixPath(disk.source), PurePosixPath(there.source))
        return self._block(disk, there)

    def _target(self, there: Disk) -> Fact[Target]:
        if there.type == "network":
            return Missing(f"{there.source} is no path")
        return had(lambda: images.target(self.destination, there.source, self.tools))

    def _backing(self, image: Fact[Image]) -> Fact[bool] | None:
        if isinstance(image, Missing) or not image.backing:
            return None
        return had(lambda: images.equal(self.source, self.destination, image.backing))

    def _file(self, path: PurePosixPath, target: PurePosixPath) -> tuple[Place, str]:
        ahead = self.pool.submit(_view, self.destination, target)
        here = _view(self.source, path)
        there = ahead.result()
        if not here.exists:
            return Place.AMBIGUOUS, f"{self.source.name} has no {path}"
        if there.exists and self._lock_seen(path, target):
            words = f"a lock taken on it through {self.source.name} is seen at {target} through"
            return Place.SHARED, f"{words} {self.destination.name}"
        seen = self._token_seen(here, there)
        locked = there.exists and self.tools.written_by_qemu(self.destination, target)
        return place_of_file(here, there, token_seen=seen, locked=locked)

    def _lock_seen(self, path: PurePosixPath, target: PurePosixPath) -> bool:
        """Whether both paths lead to one file: a byte that is locked here is locked there."""
        if self.tools.probes is Probes.READ_ONLY:
            return False
        byte = secrets.randbelow(2**60) + 2**60
        hold = (self.tools.payload(self.source), "lock", "hold", str(path), str(byte))
        with self.source.shell.start(*hold) as holder:
            first = next(iter(holder), "").strip()
            if first != "held":
                return False  # a file system without locks; the other probes decide
            return self.tools.lock_seen(self.destination, target, byte)

    def _token_seen(self, here: FileView, there: FileView) -> bool | None:
        """Whether the destination sees what the source writes; None when it may not be tried."""
        if self.tools.probes is Probes.READ_ONLY:
            return None
        name = token_name()
        with self._token(PurePosixPath(here.folder) / name):
            looked = self.destination.shell.attempt("cat", PurePosixPath(there.folder) / name)
            return looked.status == 0 and looked.stdout == name

    @contextmanager
    def _token(self, path: PurePosixPath) -> Iterator[None]:
        made = self.tools.made(self.source, path)
        try:
            self.source.shell.run("tee", path, stdin=path.name.encode())
            yield
        finally:
            self.source.shell.run("rm", "-f", "--", path)
            self.tools.removed(made)

    def _block(self, disk: Disk, target: Disk) -> tuple[Place, str]:
        for _ in range(_TRIES):  # the guest may write between the two looks
            ahead = self.pool.submit(had, lambda: _open(self.destination, target))
            here = had(lambda: _open(self.source, disk))
            there = ahead.result()
            place, evidence = place_of_block(target, here, there)
            if place.common:
                break
        return place, evidence

    def _space(self, image: Fact[Image], target: Fact[Target]) -> Fact[Space]:
        """Room for a copy where it is to be, less what is there already."""
        if isinstance(image, Missing):
            return image
        if isinstance(target, Missing):
            return target
        there = target.image.allocated if isinstance(target.image, Image) else 0
        needed = max(0, image.virtual_size - there)

        def measure() -> Space:
            free, mount = _free(self.destination, PurePosixPath(target.path))
            # figures err on the safe side: needs are rounded up, room is rounded down
            return Space(-(-needed // 2**20), free // 2**20, mount)

        return had(measure)


def _filesystem(host: Host, path: str) -> FileSystem:
    """What the file at `path` lies on, links followed."""
    look = host.shell.run("stat", "-L", "-f", "-c", "%t %T", "--", path).stdout
    magic, _, name = look.strip().partition(" ")
    if int(magic, 16) == _FUSE:
        real = host.shell.run("readlink", "-f", "--", path).stdout.strip()
        name = host.shell.run("findmnt", "-no", "FSTYPE", "-T", real).stdout.strip()
    return FileSystem(int(magic, 16), name)


def _view(host: Host, path: PurePosixPath) -> FileView:
    """The file at `path` as `host` sees it, links followed."""
    real = host.shell.attempt("readlink", "-f", path).stdout.strip() or str(path)
    done = host.shell.attempt("stat", "-c", "%i %s %Y %b %B", real)
    folder = str(PurePosixPath(real).parent)
    if done.status != 0:
        return FileView(host.name, folder, exists=False)
    inode, size, modified, blocks, unit = (int(word) for word in done.stdout.split())
    return FileView(host.name, folder, True, inode, size, modified, blocks * unit)  # noqa: FBT003


def _free(host: Host, path: PurePosixPath) -> tuple[int, str]:
    """Bytes free where `path` would be, and the mount point; missing folders can be made."""
    for folder in path.parents:
        done = host.shell.attempt("df", "-P", "-B1", folder)
        if done.status == 0:
            words = done.stdout.splitlines()[-1].split()
            return int(words[3]), words[5]
    raise HostError(host.name, f"df knows no file system for {path}")


def _open(host: Host, disk: Disk) -> Block:
    """Open the disk and read its size, first block and name. Raises `HostError`."""
    done = host.shell.attempt("qemu-io", *_READ, disk.source, seconds=15)
    lines = done.stdout.splitlines()
    if done.status != 0 or not lines or "read failed" in done.stdout:
        words = " ".join((done.stderr or done.stdout).split())
        raise HostError(host.name, f"cannot open {disk.source}: {words}")
    rows = tuple(line for line in lines[1:] if ":  " in line[:12])
    name = ""
    if disk.type == "block":
        name = host.shell.attempt("lsblk", "-dno", "WWN,SERIAL", disk.source).stdout.strip()
    return Block(host.name, lines[0].strip(), rows, name)
