"""How much longer the copy of a disk takes by migqual, guard and preparation included, than by bare
`virsh migrate --copy-storage-all` onto an image that is there already."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from migqual.bench import rig
from migqual.bench.overhead import virsh_migrate
from migqual.bench.rig import Rig
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.guarded import move
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import Inventory, StoreKind
from migqual.model.plan import Plan, StorageCopy

COPY = Plan(copy_storage=StorageCopy.ALL)
_LEFT_MIB = 64  # of the disk, where the guest's own load writes
SMALLEST_MIB = 2 * _LEFT_MIB


@dataclass(frozen=True)
class Copies:
    """Wall times in s of copying a disk of `mib`."""

    mib: int
    bare: tuple[float, ...]
    ours: tuple[float, ...]


def measure(inventory: Inventory, *, rounds: int, mib: int, say: Callable[[str], None]) -> Copies:
    """Migrate a guest with its disk to and fro, by virsh and by migqual in turn (ABBA)."""
    bare: list[float] = []
    ours: list[float] = []
    spec = GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, size_mib=mib),))
    with (
        rig.rig(inventory) as found,
        found.provision.guest(spec, found.source, found.destination) as guest,
    ):
        _fill(guest, mib)
        for number in range(rounds):
            order = (_bare, _ours) if number % 2 == 0 else (_ours, _bare)
            for step in order:
                seconds = step(found, guest)
                (bare if step is _bare else ours).append(seconds)
            say(f"{number + 1:3}  virsh {bare[-1]:.3f} s  migqual {ours[-1]:.3f} s")
    return Copies(mib, tuple(bare), tuple(ours))


def _fill(guest: Guest, mib: int) -> None:
    """Random bytes on all of the disk that the guest leaves alone, written from outside."""
    argv = ("dd", "if=/dev/urandom", f"of={guest.volumes[0].path}", "bs=1M", "oflag=direct")
    at = (f"seek={_LEFT_MIB}", f"count={mib - _LEFT_MIB}", "conv=notrunc", "status=none")
    guest.host.shell.run(*argv, *at, seconds=600)


def _ours(found: Rig, guest: Guest) -> float:
    source = guest.host
    began = time.monotonic()
    move(guest, found.other(guest), COPY, found.tools)
    seconds = time.monotonic() - began
    _forget(guest, source)
    return seconds


def _bare(found: Rig, guest: Guest) -> float:
    source, destination = guest.host, found.other(guest)
    path = guest.volumes[0].path
    undo = [("rm", "-f", "--", str(path))]
    guest.keep([found.provision.journal.record(destination.name, "image", str(path), undo)])
    size = source.shell.run("stat", "-c", "%s", path).stdout.strip()
    destination.shell.run("qemu-img", "create", "-q", "-f", "raw", path, size)
    seconds = virsh_migrate(guest, destination, COPY)
    _forget(guest, source)
    return seconds


def _forget(guest: Guest, source: Host) -> None:
    """Remove the image that stayed behind: the next copy goes there."""
    source.shell.run("rm", "-f", "--", guest.volumes[0].path)


def lines(found: Copies) -> list[str]:
    """What `migqual bench storage` prints; the last line is the ratio."""
    rows = [("virsh migrate", found.bare), ("migqual", found.ours)]
    speeds = [
        f"{name:24}{found.mib / sorted(times)[len(times) // 2]:8.0f} MiB/s" for name, times in rows
    ]
    return [*rig.table(rows), *speeds, f"ratio: {rig.ratio(found.ours, found.bare):.2f}"]
