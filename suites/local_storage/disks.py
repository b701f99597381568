"""What tests of copied disks look at: images on hosts, and what a guest does to its disks."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.guest import DiskFormat, DiskSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Arrival, Plan, StorageCopy
from migqual.preflight import images
from migqual.preflight.facts import Image

LOCAL = DiskSpec(StoreKind.LOCAL)
ALL = Plan(copy_storage=StorageCopy.ALL)
# the guest waits at its arrival until every block of every copy was compared with the original
COMPARED = Plan(copy_storage=StorageCopy.ALL, arrival=Arrival.PAUSED)
MIB = 2**20


def image_of(guest: Guest, target: str, host: Host) -> Image:
    """The image of one of the guest's disks, as `host` has it."""
    at = guest.spec.targets().index(target)
    path, kind = guest.volumes[at].path, guest.spec.disks[at].format
    return images.describe(host, str(path), kind)


def exists(host: Host, path: PurePosixPath) -> bool:
    return host.shell.attempt("test", "-e", path).status == 0


def copied(outcome: Outcome) -> set[str]:
    """Targets of the disks whose copy was seen under way. In a short migration libvirt answers too
    late to see every one."""
    return {sample.target for sample in outcome.disks}


def in_guest(guest: Guest, script: str, seconds: float = 60.0) -> None:
    """Run a line of shell in the guest; raises when it fails or takes longer."""
    deadline = Deadline(seconds)
    guest.wait_ready(deadline)
    started = guest.domain.agent("guest-exec", path="/bin/sh", arg=["-ec", script])

    def ended() -> dict[str, int] | None:
        status = guest.domain.agent("guest-exec-status", pid=started["pid"])
        return status if status["exited"] else None

    status = deadline.wait_for(f"{guest.name}: {script}", ended)
    assert status["exitcode"] == 0, f"{guest.name}: {script}: status {status['exitcode']}"


def fill(guest: Guest, target: str, at_mib: int, mib: int) -> None:
    """Random bytes on a part of a disk that the guest's load leaves alone."""
    device = guest.devices_of_disks()[target]
    in_guest(guest, f"dd if=/dev/urandom of={device} bs=1M seek={at_mib} count={mib} conv=fsync")


def acknowledged(guest: Guest, targets: Iterable[str]) -> dict[str, int]:
    """How many blocks of each disk the guest has written and synced so far."""
    disks = {disk["name"]: int(disk["acknowledged"]) for disk in guest.status()["disks"]}
    return {target: disks[target] for target in targets}


def arrange(
    provision: Provisioner,
    guest: Guest,
    host: Host,
    what: str,
    do: Sequence[tuple[str, ...]],
    undo: Sequence[tuple[str, ...]],
) -> None:
    """Change something around the guest that is ours alone; it is put back after the guest has
    gone, `undo` in its order. Each of its commands may find nothing to do."""
    guest.made.insert(0, provision.journal.record(host.name, "arrangement", what, undo))
    for argv in do:
        host.shell.run(*argv)


def prepared(
    provision: Provisioner,
    guest: Guest,
    host: Host,
    path: PurePosixPath,
    *,
    kind: DiskFormat = DiskFormat.RAW,
    size: int = 64 * MIB,
) -> None:
    """An image at `path` of `host`, as if somebody had made it before. Size in bytes."""
    make = ("qemu-img", "create", "-q", "-f", str(kind), str(path), str(size))
    arrange(provision, guest, host, f"image {path}", [make], [("rm", "-f", "--", str(path))])


def identity(host: Host, path: PurePosixPath) -> str:
    """Which file it is, and when it was written last."""
    return host.shell.run("stat", "-c", "%i %y %z", path).stdout.strip()
