"""Measure how much longer a migration with a disk copy takes by migqual than by virsh.

The time of migqual includes the checks before the migration (guard) and the creation of the image
at the destination. The time of virsh is the time of `virsh migrate --copy-storage-all` to an image
that already exists.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from migqual.bench.comparison import compute_median_ratio, format_table
from migqual.bench.overhead import measure_virsh_migration
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory
from migqual.inventory.stores import StoreKind
from migqual.migration.guarded import migrate_guarded
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.model.plan import Plan, StorageCopy
from migqual.testbed.connection import connect_testbed
from migqual.testbed.testbed import Testbed

COPY_PLAN = Plan(copy_storage=StorageCopy.ALL)
_GUEST_AREA_MIB = 64  # start of the disk, to which the guest load writes
MIN_DISK_MIB = 2 * _GUEST_AREA_MIB


@dataclass(frozen=True)
class DiskCopyTimes:
    """The wall times in s of migrations that copy a disk of `disk_mib` MiB."""

    disk_mib: int
    virsh_s: tuple[float, ...]
    migqual_s: tuple[float, ...]


def measure_disk_copies(
    inventory: Inventory, *, rounds: int, disk_mib: int, report_progress: Callable[[str], None]
) -> DiskCopyTimes:
    """Measure the times of migrations that copy the disk of a guest, by virsh and by migqual.

    Each round has one migration by virsh and one by migqual. The order alternates from round to
    round.

    Args:
        inventory: The inventory with the pair.
        rounds: Number of rounds.
        disk_mib: Size of the disk in MiB.
        report_progress: Function that receives a line of text after each round.
    """
    virsh_s: list[float] = []
    migqual_s: list[float] = []
    spec = GuestSpec(disks=(DiskSpec(StoreKind.LOCAL, size_mib=disk_mib),))
    with (
        connect_testbed(inventory) as testbed,
        testbed.running_guest(spec) as guest,
    ):
        _fill_disk(guest, disk_mib)
        for round_index in range(rounds):
            order = (
                (_measure_virsh, _measure_migqual)
                if round_index % 2 == 0
                else (_measure_migqual, _measure_virsh)
            )
            for step in order:
                seconds = step(testbed, guest)
                (virsh_s if step is _measure_virsh else migqual_s).append(seconds)
            report_progress(
                f"round {round_index + 1:3}  wall time of the migration with disk copy: "
                f"virsh {virsh_s[-1]:.3f} s, migqual {migqual_s[-1]:.3f} s"
            )
    return DiskCopyTimes(disk_mib, tuple(virsh_s), tuple(migqual_s))


def _fill_disk(guest: Guest, disk_mib: int) -> None:
    """Fill the disk with random bytes, except the first 64 MiB, to which the guest load writes."""
    argv = ("dd", "if=/dev/urandom", f"of={guest.volumes[0].path}", "bs=1M", "oflag=direct")
    range_arguments = (
        f"seek={_GUEST_AREA_MIB}",
        f"count={disk_mib - _GUEST_AREA_MIB}",
        "conv=notrunc",
        "status=none",
    )
    guest.host.shell.run(*argv, *range_arguments, seconds=600)


def _measure_migqual(testbed: Testbed, guest: Guest) -> float:
    source = guest.host
    started_at = time.monotonic()
    migrate_guarded(guest, testbed.pair.get_peer(guest.host), COPY_PLAN, testbed.probe_context)
    seconds = time.monotonic() - started_at
    _remove_old_image(guest, source)
    return seconds


def _measure_virsh(testbed: Testbed, guest: Guest) -> float:
    source, destination = guest.host, testbed.pair.get_peer(guest.host)
    path = guest.volumes[0].path
    undo_commands = [("rm", "-f", "--", str(path))]
    guest.add_journal_entries(
        [testbed.provisioner.journal.record(destination.name, "image", str(path), undo_commands)]
    )
    size_bytes = source.shell.run("stat", "-c", "%s", path).stdout.strip()
    destination.shell.run("qemu-img", "create", "-q", "-f", "raw", path, size_bytes)
    seconds = measure_virsh_migration(guest, destination, COPY_PLAN)
    _remove_old_image(guest, source)
    return seconds


def _remove_old_image(guest: Guest, source: Host) -> None:
    """Remove the old image at the source, because the next copy goes to the same path."""
    source.shell.run("rm", "-f", "--", guest.volumes[0].path)


def format_disk_copy_times(copy_times: DiskCopyTimes) -> list[str]:
    """Format the output of `migqual bench storage`.

    The last line is the median wall time of the migrations by migqual, divided by the median wall
    time of the migrations by `virsh migrate`.
    """
    rows = [("virsh migrate", copy_times.virsh_s), ("migqual", copy_times.migqual_s)]
    speeds = [
        f"{name:24}{copy_times.disk_mib / sorted(seconds)[len(seconds) // 2]:8.0f} MiB/s"
        for name, seconds in rows
    ]
    ratio = compute_median_ratio(copy_times.migqual_s, copy_times.virsh_s)
    return [
        *format_table(rows),
        *speeds,
        f"median of migqual / median of virsh, ratio: {ratio:.2f}",
    ]
