"""Compare the old and the new image of each copied disk, and find later changes of the old image.

The comparison runs while the guest is paused at the destination. The source serves the old image
read-only over NBD. `qemu-img compare` at the destination reads both images to the end:
https://www.qemu.org/docs/master/tools/qemu-img.html
After the migration, no process may open or change the old image.
"""

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from migqual.deadline import Deadline
from migqual.errors import HostError
from migqual.hosts import domain_definition
from migqual.hosts.domain_definition import Disk
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.nbd_server import start_nbd_server
from migqual.hosts.pid_file import build_stop_command
from migqual.inventory.entities import format_uri_host
from migqual.model.outcome import Outcome
from migqual.observe.disk_violation import DiskViolation

# upper half of libvirt's port range for migrations, which the firewalls of the hosts must permit
_NBD_PORTS = range(49184, 49216)
_MAX_PORT_TRIES = 8
_COMPARE_SECONDS = 3600.0
_IDENTICAL_STATUS, _DIFFERENT_STATUS = 0, 1


@dataclass(frozen=True)
class CopiedDisk:
    """A copied disk, with the old image at the source and the new image at the destination.

    Attributes:
        source: The host of the old image.
        old_disk: The disk before the migration.
        destination: The host of the new image.
        new_disk: The disk after the migration.
        stat_at_arrival: Size and times of the old image when the guest arrived at the
            destination. A write changes these values.
    """

    source: Host
    old_disk: Disk
    destination: Host
    new_disk: Disk
    stat_at_arrival: str

    @property
    def target(self) -> str:
        """Return the name of the disk in the guest, for example `vda`."""
        return self.old_disk.target


def read_disks(guest: Guest) -> dict[str, Disk]:
    """Read the live domain XML; return the guest's disks that have an image, by target."""
    disks = domain_definition.parse_domain_xml(guest.domain.read_live_xml()).disks
    return {disk.target: disk for disk in disks if disk.source}


def list_copied_disks(
    guest: Guest, source: Host, disks_before: dict[str, Disk], outcome: Outcome
) -> list[CopiedDisk]:
    """List the disks that a migration copied, and read the size and times of the old images.

    Call the function right after the migration: `find_old_image_violations` finds only writes after
    this call.

    Args:
        guest: The migrated guest.
        source: The host of the guest before the migration.
        disks_before: The disks before the migration, by target.
        outcome: The outcome of the migration.
    """
    disks_after = read_disks(guest)
    selected_targets = outcome.plan.migrate_disks
    selected_disks = [
        disk
        for target, disk in disks_before.items()
        if (target in selected_targets if selected_targets else disk.is_copied_by_default)
    ]
    return [
        CopiedDisk(
            source, disk, guest.host, disks_after[disk.target], _read_image_stat(source, disk)
        )
        for disk in selected_disks
    ]


def find_disk_differences(journal: Journal, copied_disks: Sequence[CopiedDisk]) -> list[str]:
    """Find differences between the old and the new images of copied disks.

    The guest must not run during the call, because a running guest changes the new images.

    Args:
        journal: The journal of the run.
        copied_disks: The disks to compare.

    Returns:
        A message for each disk with different images.

    Raises:
        HostError: An image could not be served or compared.
    """
    return [
        DiskViolation(copied_disk.target, message)
        for copied_disk in copied_disks
        if (message := _compare_disk(journal, copied_disk))
    ]


def find_old_image_violations(copied_disks: Sequence[CopiedDisk]) -> list[str]:
    """Find old images of copied disks that changed after the migration or are still open."""
    violations: list[str] = []
    for copied_disk in copied_disks:
        target, source = copied_disk.target, copied_disk.source
        image = f"{target}: the old image {source.name}:{copied_disk.old_disk.source}"
        if _read_image_stat(source, copied_disk.old_disk) != copied_disk.stat_at_arrival:
            violations.append(DiskViolation(target, f"{image} was written after the migration"))
        if pids := _find_pids_using(source, copied_disk.old_disk.source):
            text = f"{image} is still open in the processes {pids}"
            violations.append(DiskViolation(target, text))
    return violations


def _compare_disk(journal: Journal, copied_disk: CopiedDisk) -> str:
    with _serve_over_nbd(journal, copied_disk.source, copied_disk.old_disk) as uri:
        result = copied_disk.destination.shell.run_unchecked(
            *(
                "qemu-img",
                "compare",
                "-U",
                "-f",
                "raw",
                "-F",
                copied_disk.new_disk.format,
                uri,
                copied_disk.new_disk.source,
            ),
            seconds=_COMPARE_SECONDS,
        )
    if result.status == _IDENTICAL_STATUS:
        return ""
    message = " ".join((result.stdout + result.stderr).split())
    if result.status == _DIFFERENT_STATUS:
        return f"{copied_disk.target}: the copy differs from the old image: {message}"
    raise HostError(
        copied_disk.destination.name,
        f"qemu-img compare of {copied_disk.target} failed: {message}",
    )


@contextmanager
def _serve_over_nbd(journal: Journal, host: Host, disk: Disk) -> Iterator[str]:
    """Serve the image of the disk on `host` as a read-only NBD export; yield the NBD URI."""
    export_name = secrets.token_hex(8)
    pid_file = f"/run/mq-compare-{export_name}.pid"
    undo_commands = [build_stop_command(pid_file)]
    entry = journal.record(host.name, "nbd export", export_name, undo_commands)
    address = host.entry.migration_endpoint
    options = (
        *("--read-only", "--persistent", f"--format={disk.format}"),
        *(f"--pid-file={pid_file}", f"--export-name={export_name}", f"--bind={address}"),
    )
    try:
        ports = random.sample(_NBD_PORTS, _MAX_PORT_TRIES)
        port = start_nbd_server(host, ports, disk.source, *options)
        if port is None:
            raise HostError(
                host.name, f"cannot compare disks over NBD: the TCP ports {ports} are all in use"
            )
        yield f"nbd://{format_uri_host(address)}:{port}/{export_name}"
    finally:
        for undo_argv in undo_commands:
            host.shell.run_unchecked(*undo_argv)
        journal.record_removal(entry)


def _read_image_stat(host: Host, disk: Disk) -> str:
    return host.shell.run("stat", "-L", "-c", "%s %y %z", disk.source).stdout.strip()


def _find_pids_using(host: Host, path: str) -> str:
    """Wait up to 2 s until no process has the file open; return the ids of remaining processes."""
    argv = ("find", "/proc", "-maxdepth", "3", "-path", "/proc/[0-9]*/fd/*", "-lname", path)
    deadline = Deadline(2.0)
    while True:
        fd_paths = host.shell.run_unchecked(*argv).stdout.split()
        if not fd_paths or deadline.is_over:
            return ", ".join(sorted({fd_path.split("/")[2] for fd_path in fd_paths}))
        deadline.pause(0.1)
