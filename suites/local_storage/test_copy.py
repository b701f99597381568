"""A guest moves together with disks that only its own host has."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.matrix import as_parameters, chosen
from fixtures.plugins.records import add_environment
from migqual.errors import MigrationError, MigrationRefused, UnsupportedError
from migqual.model.guest import (
    IDLE,
    DiskBus,
    DiskFormat,
    DiskLoad,
    DiskSpec,
    GuestSpec,
    Load,
    MemoryLoad,
)
from migqual.model.inventory import StoreKind
from migqual.model.metrics import metrics
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Plan, Writes
from migqual.model.profile import Profile
from suites.local_storage.disks import (
    ALL,
    COMPARED,
    LOCAL,
    MIB,
    acknowledged,
    copied,
    fill,
    image_of,
    in_guest,
)

Migrate = Callable[..., Outcome]

WRITING = Load("writing", disk=DiskLoad(rate_per_s=300))
BOTH = Load("both", memory=MemoryLoad(mib=48, rate_mib_s=16), disk=DiskLoad(rate_per_s=300))
# whole chunks of those that QEMU copies: a smaller block would take more at the destination
SELDOM = Load("seldom", disk=DiskLoad(rate_per_s=1, block_kib=64))
ALLOCATION_TOLERANCE = 0.10
PORTS = range(49184, 49216)  # the upper half of those that hosts open for migrations


@dataclass(frozen=True)
class Copy:
    """One way to copy a disk."""

    format: DiskFormat
    bus: DiskBus
    load: Load
    control: Control

    @property
    def id(self) -> str:
        return "-".join(str(part) for part in vars(self).values())

    @property
    def guest(self) -> GuestSpec:
        return GuestSpec(
            disks=(DiskSpec(StoreKind.LOCAL, self.format, bus=self.bus),), load=self.load
        )


COPIES = (
    tuple(DiskFormat),
    (DiskBus.VIRTIO, DiskBus.SCSI),
    (IDLE, WRITING, BOTH),
    (Control.PEER_TO_PEER, Control.DIRECT),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "copy" in metafunc.fixturenames:
        rows = chosen(COPIES, metafunc.config.getoption("--matrix"))
        metafunc.parametrize("copy", as_parameters(Copy, rows))


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02", "LM-LOC-03")
def test_disk_arrives_block_for_block(
    copy: Copy, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A disk that only the source has arrives with its guest, equal in every block.

    Preconditions: a local disk; the guest's load runs.
    Expected: at the moment of arrival old and new image are equal; nothing that was acknowledged
    is lost and nothing is from the future; afterwards the guest writes to the new image, and the
    old one is closed and unchanged.
    """
    guest = make_guest(copy.guest)
    target = guest.spec.targets()[0]
    before = acknowledged(guest, [target])[target]

    outcome = migrate(guest, replace(COMPARED, control=copy.control))

    arrived = acknowledged(guest, [target])[target]
    assert guest.host is pair.destination
    assert not copied(outcome) - {target}
    assert image_of(guest, target, pair.destination).virtual_size == 64 * MIB
    assert arrived > before
    newest = stamp(pair, guest.volumes[0].path)
    guest.payload("disk", "verify", target)
    assert acknowledged(guest, [target])[target] > arrived
    assert stamp(pair, guest.volumes[0].path) > newest


@pytest.mark.requirement("LM-CAP-03")
def test_guest_is_hardly_away(make_guest: MakeGuest, migrate: Migrate, profile: Profile) -> None:
    """
    A guest whose disk is copied is silent no longer than one on shared storage.

    Preconditions: none.
    Expected: the gap is below the profile's limit and the TCP session alive.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))

    outcome = migrate(guest, ALL)

    assert outcome.gaps is not None
    assert outcome.gaps.session_alive
    assert outcome.gaps.max_ms <= profile.thresholds.gap_max_ms


@pytest.mark.requirement("LM-CAP-03")
def test_sparse_images_stay_sparse(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A large disk with little on it takes as little at the destination.

    Preconditions: a raw and a qcow2 disk of 512 MiB of which 16 are written, and single blocks of
    64 KiB: QEMU copies as much around a smaller one.
    Expected: the allocated sizes differ by 10 % at most.
    """
    disks = tuple(DiskSpec(StoreKind.LOCAL, kind, size_mib=512) for kind in DiskFormat)
    guest = make_guest(GuestSpec(disks=disks, load=SELDOM))
    for target in guest.spec.targets():
        fill(guest, target, at_mib=300, mib=16)

    migrate(guest, COMPARED)

    for target in guest.spec.targets():
        old, new = (image_of(guest, target, host) for host in pair.hosts)
        assert new.virtual_size == old.virtual_size == 512 * MIB
        assert old.allocated < 64 * MIB
        assert abs(new.allocated - old.allocated) <= ALLOCATION_TOLERANCE * old.allocated


@pytest.mark.requirement("LM-CAP-03")
@pytest.mark.long
def test_discarded_blocks_are_not_brought_back(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    What the guest has discarded takes no room at the destination, and discarding works there too.

    Preconditions: on a raw and a qcow2 disk 24 MiB are written, 16 of them discarded, the rest
    after the migration.
    Expected: the allocated sizes differ by 10 % at most; afterwards the images at the destination
    shrink.
    """
    disks = tuple(DiskSpec(StoreKind.LOCAL, kind) for kind in DiskFormat)
    guest = make_guest(GuestSpec(disks=disks, load=SELDOM))
    for target in guest.spec.targets():
        fill(guest, target, at_mib=32, mib=24)
        in_guest(guest, f"blkdiscard -o {32 * MIB} -l {16 * MIB} /dev/{target}")

    migrate(guest, COMPARED)

    for target in guest.spec.targets():
        old, new = (image_of(guest, target, host) for host in pair.hosts)
        assert abs(new.allocated - old.allocated) <= ALLOCATION_TOLERANCE * old.allocated
        in_guest(guest, f"blkdiscard -o {48 * MIB} -l {8 * MIB} /dev/{target}")
        less = image_of(guest, target, pair.destination).allocated
        assert less <= new.allocated - 7 * MIB


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02")
@pytest.mark.long
def test_eight_disks_at_once(make_guest: MakeGuest, migrate: Migrate) -> None:
    """
    Eight disks travel in one migration.

    Preconditions: local disks, both formats and both buses in turn; a bandwidth at which there is
    time to look at each.
    Expected: every one is copied, equal in every block, and its progress is in the record.
    """
    kinds = itertools.cycle(itertools.product(DiskFormat, (DiskBus.VIRTIO, DiskBus.SCSI)))
    disks = tuple(
        DiskSpec(StoreKind.LOCAL, kind, size_mib=32, bus=bus)
        for kind, bus in itertools.islice(kinds, 8)
    )
    guest = make_guest(GuestSpec(disks=disks))
    for target in guest.spec.targets():
        fill(guest, target, at_mib=20, mib=2)

    outcome = migrate(guest, replace(COMPARED, bandwidth_mib_s=32))

    figures = metrics(outcome)
    assert copied(outcome) == set(guest.spec.targets())
    assert [
        target for target in guest.spec.targets() if (figures[f"disk_{target}_mib"] or 0) < 2
    ] == []


@pytest.mark.requirement("LM-CAP-03")
@pytest.mark.extra
def test_synchronous_writes(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A guest whose writes are done at both ends arrives with its disk.

    Preconditions: the guest writes hundreds of blocks a second.
    Expected: unsupported where libvirt does not know the flag; otherwise it runs at the destination
    on its copy, which was equal in every block. That QEMU used the mode is not shown: it does not
    tell.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,), load=WRITING))

    try:
        migrate(guest, replace(COMPARED, writes=Writes.BOTH_ENDS))
    except MigrationError as error:
        if "unsupported flag" in error.words.lower():
            raise UnsupportedError(f"synchronous writes: {error.words}") from error
        raise

    assert guest.host is pair.destination
    assert image_of(guest, "vda", pair.destination).allocated > 0


@pytest.mark.requirement("LM-LOC-02")
@pytest.mark.long
@pytest.mark.parametrize("option", ["port", "uri"])
def test_disks_take_the_way_they_are_told(
    option: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    Disks go to the port or the URI that is given for them.

    Preconditions: a port that libvirt has free at the destination; a bandwidth at which the copy
    takes a while.
    Expected: at the destination that port is in use while the disk is copied. Ports that libvirt
    refuses are told: some versions keep them reserved after a migration, until the next restart.
    """
    guest = make_guest(GuestSpec(disks=(LOCAL,)))
    fill(guest, "vda", at_mib=24, mib=24)
    seen: list[int] = []

    def look(port: int) -> bool:
        if port not in seen and in_use(pair, port):
            seen.append(port)
        return False

    reserved = []
    for port in random.sample(PORTS, len(PORTS)):
        try:
            migrate(guest, told(option, pair, port), on_sample=lambda _sample, at=port: look(at))
        except MigrationRefused as error:
            if "reserve port" not in error.words:
                raise
            reserved.append(port)
        else:
            break
    if reserved:
        add_environment(pytestconfig, f"ports kept reserved {pair.id}", {"ports": reserved})

    assert guest.host is pair.destination, f"libvirt has none of {PORTS} free"
    assert seen == [port]


def told(option: str, pair: Pair, port: int) -> Plan:
    """A plan that names the way of the disks. Driven by the controller, since a source that drives
    it may lose the destination's words."""
    plan = replace(ALL, bandwidth_mib_s=48, control=Control.DIRECT)
    if option == "port":
        return replace(plan, disks_port=port)
    address = pair.destination.entry.migration_address
    return replace(plan, disks_uri=f"tcp://{address}:{port}")


def in_use(pair: Pair, port: int) -> bool:
    """Whether somebody is connected to that port of the destination."""
    listed = pair.destination.shell.run("cat", "/proc/net/tcp", "/proc/net/tcp6").stdout
    return any(
        words[1].endswith(f":{port:04X}") and words[3] == "01"
        for words in (line.split() for line in listed.splitlines())
        if len(words) > 3
    )


def stamp(pair: Pair, path: object) -> str:
    """When the image at the destination was written last."""
    return pair.destination.shell.run("stat", "-c", "%.9Y", str(path)).stdout.strip()
