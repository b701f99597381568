"""Where each disk is, found by probes on both hosts; never by a path or a file system's name.

Files: a token written beside the image through one host and looked for through the other, the
image's inode, and the lock that a running QEMU holds on it. Block devices and network disks: both
hosts open them and read the same identity.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.preflight.definition import Disk
from migqual.preflight.facts import DiskFact, Fact, Missing, Place, Space
from migqual.preflight.places import Block, FileView, place_of_block, place_of_file
from migqual.preflight.tools import Probes, Tools, had, token_name

_READ = ("-r", "-U", "-f", "raw", "-c", "length", "-c", "read -v 0 4096")
_TRIES = 3


@dataclass(frozen=True)
class Prober:
    """Looks at disks of one guest from both hosts."""

    source: Host
    destination: Host
    tools: Tools
    pool: Executor

    def disk(self, disk: Disk) -> DiskFact:
        """Where one disk is. Never raises: what cannot be probed is ambiguous."""
        if disk.locked:
            return DiskFact(disk, Place.AMBIGUOUS, "its credentials are libvirt's own")
        if not disk.source:
            return DiskFact(disk, Place.AMBIGUOUS, f"disks of type {disk.type} are not probed")
        try:
            place, evidence = self._file(disk) if disk.type == "file" else self._block(disk)
        except HostError as error:
            return DiskFact(disk, Place.AMBIGUOUS, error.message)
        space = None if place.common else self._space(disk)
        return DiskFact(disk, place, evidence, space)

    def _file(self, disk: Disk) -> tuple[Place, str]:
        path = PurePosixPath(disk.source)
        ahead = self.pool.submit(_view, self.destination, path)
        here = _view(self.source, path)
        there = ahead.result()
        if not here.exists:
            return Place.AMBIGUOUS, f"{self.source.name} has no {path}"
        seen = self._token_seen(here, there)
        locked = there.exists and _is_locked(self.destination, path)
        return place_of_file(here, there, token_seen=seen, locked=locked)

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

    def _block(self, disk: Disk) -> tuple[Place, str]:
        for _ in range(_TRIES):  # the guest may write between the two looks
            ahead = self.pool.submit(had, lambda: _open(self.destination, disk))
            here = had(lambda: _open(self.source, disk))
            there = ahead.result()
            place, evidence = place_of_block(disk, here, there)
            if place.common:
                break
        return place, evidence

    def _space(self, disk: Disk) -> Fact[Space]:
        """Room for a copy in the same folder of the destination, less what is there already."""

        def measure() -> Space:
            info = self.source.shell.run("qemu-img", "info", "-U", "--output=json", disk.source)
            size = int(json.loads(info.stdout)["virtual-size"])
            path = PurePosixPath(disk.source)
            needed = max(0, size - _view(self.destination, path).allocated)
            free, mount = _free(self.destination, path)
            # figures err on the safe side: needs are rounded up, room is rounded down
            return Space(-(-needed // 2**20), free // 2**20, mount)

        if disk.type != "file":
            return Missing(f"room for a disk of type {disk.type} is not known")
        return had(measure)


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


def _is_locked(host: Host, path: PurePosixPath) -> bool:
    """Whether a QEMU that writes to the image is known here by its lock on it."""
    done = host.shell.attempt("qemu-img", "info", path)
    return done.status != 0 and "lock" in done.stderr


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
