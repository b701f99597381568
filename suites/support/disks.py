"""Shared code of the disk tests: images on hosts, and disk access in the guest."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Arrival, Plan, StorageCopy
from migqual.probes import disk_images
from migqual.probes.disk_images import ImageInfo
from migqual.units import MIB

ALLOCATION_TOLERANCE = 0.10
LOCAL_DISK = DiskSpec(StoreKind.LOCAL)
COPY_PLAN = Plan(copy_storage=StorageCopy.ALL)
# At arrival the guest stays paused until every block of each copy is compared with the
# original.
VERIFIED_COPY_PLAN = Plan(copy_storage=StorageCopy.ALL, arrival=Arrival.PAUSED)


def inspect_image(guest: Guest, target: str, host: Host) -> ImageInfo:
    """Inspect the image of a guest disk on the host."""
    index = guest.spec.list_disk_targets().index(target)
    path, disk_format = guest.volumes[index].path, guest.spec.disks[index].format
    return disk_images.query_image_info(host, str(path), disk_format)


def describe_allocation(
    target: str, guest: Guest, source: ImageInfo, destination: ImageInfo
) -> str:
    """Describe the space that the copy of a disk takes, compared with the original image."""
    disk_format = guest.spec.disks[guest.spec.list_disk_targets().index(target)].format
    difference = abs(destination.allocated_size - source.allocated_size)
    if difference <= ALLOCATION_TOLERANCE * source.allocated_size:
        return f"{disk_format} image: the copy takes as much space as the original"
    return (
        f"{disk_format} image of {source.virtual_size // MIB} MiB: the original takes "
        f"{source.allocated_size // MIB} MiB, the copy {destination.allocated_size // MIB} MiB"
    )


def has_file(host: Host, path: PurePosixPath) -> bool:
    return host.shell.run_unchecked("test", "-e", path).status == 0


def list_copied_targets(outcome: Outcome) -> set[str]:
    """Return the targets of the disks with an observed copy.

    In a short migration libvirt replies too late to show every copy.
    """
    return {sample.target for sample in outcome.disk_samples}


def read_copied_bytes(outcome: Outcome) -> int:
    """Return how many bytes of disks libvirt counted for a completed migration.

    Raises:
        InconclusiveError: libvirt reported no statistics, so a copy would not be seen.
    """
    if not outcome.stats.values:
        raise InconclusiveError("libvirt reported no statistics of the completed migration")
    return outcome.stats.disk_total_bytes or 0


def run_in_guest(guest: Guest, script: str, seconds: float = 60.0) -> None:
    """Run a shell script in the guest and wait for the end of the script.

    Raises:
        AssertionError: The script returns a non-zero exit status.
        TimedOut: The script takes longer than `seconds`.
    """
    deadline = Deadline(seconds)
    guest.wait_for_agent(deadline)
    process = guest.domain.run_agent_command("guest-exec", path="/bin/sh", arg=["-ec", script])

    def read_exit_status() -> dict[str, int] | None:
        status = guest.domain.run_agent_command("guest-exec-status", pid=process["pid"])
        return status if status["exited"] else None

    status = deadline.wait_for(f"{guest.name}: {script}", read_exit_status)
    assert status["exitcode"] == 0, f"{guest.name}: {script}: exit status {status['exitcode']}"


def fill_disk(guest: Guest, target: str, offset_mib: int, size_mib: int) -> None:
    """Write random bytes to a part of a disk; the guest load must not use this part."""
    device = guest.map_disk_devices()[target]
    run_in_guest(
        guest, f"dd if=/dev/urandom of={device} bs=1M seek={offset_mib} count={size_mib} conv=fsync"
    )


def count_acknowledged_blocks(guest: Guest, targets: Iterable[str]) -> dict[str, int]:
    """Return the number of blocks written and synced by the guest so far, for each disk."""
    block_counts = {
        disk["name"]: int(disk["acknowledged"]) for disk in guest.query_payload_status()["disks"]
    }
    return {target: block_counts[target] for target in targets}


def apply_temporary_change(
    provisioner: Provisioner,
    guest: Guest,
    host: Host,
    description: str,
    commands: Sequence[tuple[str, ...]],
    undo_commands: Sequence[tuple[str, ...]],
) -> None:
    """Apply a temporary change to resources used only by the guest of the test.

    The journal records `undo_commands` before the change. When the guest is removed, the undo
    commands run in the given order. If a change is already undone, its undo command must do no
    harm.
    """
    guest.journal_entries.insert(
        0, provisioner.journal.record(host.name, "temporary-change", description, undo_commands)
    )
    for argv in commands:
        host.shell.run(*argv)


def create_image(
    provisioner: Provisioner,
    guest: Guest,
    host: Host,
    path: PurePosixPath,
    *,
    disk_format: DiskFormat = DiskFormat.RAW,
    size_bytes: int = 64 * MIB,
) -> None:
    """Create an image on the host, as if a user had prepared the image.

    The image is removed together with the guest.
    """
    command = ("qemu-img", "create", "-q", "-f", str(disk_format), str(path), str(size_bytes))
    apply_temporary_change(
        provisioner, guest, host, f"image {path}", [command], [("rm", "-f", "--", str(path))]
    )


def read_file_identity(host: Host, path: PurePosixPath) -> str:
    """Return the inode number, modification time and change time of the file."""
    return host.shell.run("stat", "-c", "%i %y %z", path).stdout.strip()
