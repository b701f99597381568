"""A guest moves together with disks on the local storage of the source."""

import itertools
from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.matrix import build_parameters, select_rows
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.deadline import Deadline
from migqual.errors import MigrationError
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import (
    IDLE_LOAD,
    DiskBus,
    DiskFormat,
    DiskLoad,
    DiskSpec,
    GuestLoad,
    GuestSpec,
    MemoryLoad,
)
from migqual.model.metrics import compute_metrics
from migqual.model.plan import Control, WriteMode
from migqual.model.profile import Profile
from migqual.model.profile_limits import find_exceeded_limits
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from migqual.units import MIB
from suites.support.disks import (
    COPY_PLAN,
    LOCAL_DISK,
    VERIFIED_COPY_PLAN,
    count_acknowledged_blocks,
    describe_allocation,
    fill_disk,
    inspect_image,
    list_copied_targets,
    run_in_guest,
)
from suites.support.unsupported import raise_unsupported_if

WRITE_SECONDS = 5.0  # longest wait for the next block; the idle load writes 20 blocks per second
DISK_LOAD = GuestLoad("disk", disk=DiskLoad(rate_per_s=300))
MEMORY_AND_DISK_LOAD = GuestLoad(
    "memory-and-disk", memory=MemoryLoad(size_mib=48, rate_mib_s=16), disk=DiskLoad(rate_per_s=300)
)
# Blocks of QEMU's copy chunk size: a smaller block would take more space at the destination.
SLOW_DISK_LOAD = GuestLoad("slow-disk", disk=DiskLoad(rate_per_s=1, block_kib=64))


@dataclass(frozen=True)
class DiskCopyCase:
    """A disk copy: disk format, disk bus, guest load, and control (peer-to-peer or direct)."""

    format: DiskFormat
    bus: DiskBus
    load: GuestLoad
    control: Control

    @property
    def id(self) -> str:
        return "-".join(str(part) for part in vars(self).values())

    @property
    def guest(self) -> GuestSpec:
        return GuestSpec(
            disks=(DiskSpec(StoreKind.LOCAL, self.format, bus=self.bus),), load=self.load
        )


COPY_FACTORS = (
    tuple(DiskFormat),
    (DiskBus.VIRTIO, DiskBus.SCSI),
    (IDLE_LOAD, DISK_LOAD, MEMORY_AND_DISK_LOAD),
    (Control.PEER_TO_PEER, Control.DIRECT),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "copy_case" in metafunc.fixturenames:
        rows = select_rows(COPY_FACTORS, metafunc.config.getoption("--matrix"))
        metafunc.parametrize("copy_case", build_parameters(DiskCopyCase, rows))


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02", "LM-LOC-03")
def test_copied_disk_is_equal_in_every_block(copy_case: DiskCopyCase, testbed: Testbed) -> None:
    """
    A local disk of the source arrives with the guest, equal in every block.

    Preconditions: a local disk; the guest's load runs.
    Expected: at arrival the old and the new image are equal. Each block contains the data of the
    last acknowledged write to the block, or of a later write. Afterwards the guest writes to the
    new image, and the old image is closed and unchanged.
    """
    guest = testbed.make_guest(copy_case.guest)
    target = guest.spec.list_disk_targets()[0]
    blocks_before = count_acknowledged_blocks(guest, [target])[target]

    outcome = testbed.migrate(guest, replace(VERIFIED_COPY_PLAN, control=copy_case.control))

    blocks_at_arrival = count_acknowledged_blocks(guest, [target])[target]
    assert guest.host is testbed.destination
    assert not list_copied_targets(outcome) - {target}
    assert inspect_image(guest, target, testbed.destination).virtual_size == 64 * MIB
    assert blocks_at_arrival > blocks_before
    write_time_at_arrival = read_write_time(testbed.pair, guest.volumes[0].path)
    guest.run_payload_command("disk", "verify", target)
    # The blocks are counted after the write time was read, so the next block is a later write.
    blocks_then = count_acknowledged_blocks(guest, [target])[target]
    Deadline(WRITE_SECONDS).wait_for(
        f"another block on {target} of {guest.name}",
        lambda: count_acknowledged_blocks(guest, [target])[target] > blocks_then,
    )
    assert read_write_time(testbed.pair, guest.volumes[0].path) > write_time_at_arrival


@pytest.mark.requirement("LM-CAP-03")
def test_gap_with_disk_copy(testbed: Testbed, profile: Profile) -> None:
    """
    The profile's limit for the gap (time without a reply) also holds when a disk is copied.

    Preconditions: none.
    Expected: the gap and the other figures are within the limits of the profile, as on shared
    storage. The TCP session is alive.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))

    outcome = testbed.migrate(guest, COPY_PLAN)

    assert outcome.gap_report is not None
    assert outcome.gap_report.session_alive
    assert find_exceeded_limits(outcome, profile.thresholds) == []


@pytest.mark.requirement("LM-CAP-03")
def test_sparse_images_arrive_whole(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A large disk with little data arrives equal in every block; the size of the copy is recorded.

    Preconditions: a raw and a qcow2 disk of 512 MiB, each with 16 MiB of written data. The load
    writes single blocks of 64 KiB. QEMU copies at least 64 KiB, so smaller blocks would take more
    space in the copy.
    Expected: the disks are equal in every block. An image may take more or less space at the
    destination than at the source. If the difference is larger than 10 %, the test still passes,
    and the report contains a reservation (a note; the pair can still qualify). For example, QEMU
    10.0 writes all blocks of a raw image, also the empty blocks. QEMU 7.2 and 11 do not write the
    empty blocks.
    """
    disks = tuple(
        DiskSpec(StoreKind.LOCAL, disk_format, size_mib=512) for disk_format in DiskFormat
    )
    guest = testbed.make_guest(GuestSpec(disks=disks, load=SLOW_DISK_LOAD))
    for target in guest.spec.list_disk_targets():
        fill_disk(guest, target, offset_mib=300, size_mib=16)

    testbed.migrate(guest, VERIFIED_COPY_PLAN)

    for target in guest.spec.list_disk_targets():
        source_image, destination_image = (
            inspect_image(guest, target, host) for host in testbed.hosts
        )
        assert destination_image.virtual_size == source_image.virtual_size == 512 * MIB
        assert source_image.allocated_size < 64 * MIB
        record_stack_message(
            "sparse-copy", describe_allocation(target, guest, source_image, destination_image)
        )


@pytest.mark.requirement("LM-CAP-03")
@pytest.mark.slow
def test_discarding_works_after_the_copy(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A disk with discarded blocks arrives equal in every block. If the guest discards more blocks
    after the migration, the image at the destination shrinks.

    Preconditions: the guest writes 24 MiB to a raw disk and to a qcow2 disk. The guest discards
    16 MiB of each disk before the migration, and the other 8 MiB after the migration.
    Expected: after the second discard the images at the destination shrink. After the copy, an
    image may take more or less space at the destination than at the source. If the difference is
    larger than 10 %, the test still passes, and the report contains a reservation (a note; the pair
    can still qualify).
    """
    disks = tuple(DiskSpec(StoreKind.LOCAL, disk_format) for disk_format in DiskFormat)
    guest = testbed.make_guest(GuestSpec(disks=disks, load=SLOW_DISK_LOAD))
    for target in guest.spec.list_disk_targets():
        fill_disk(guest, target, offset_mib=32, size_mib=24)
        run_in_guest(guest, f"blkdiscard -o {32 * MIB} -l {16 * MIB} /dev/{target}")

    testbed.migrate(guest, VERIFIED_COPY_PLAN)

    for target in guest.spec.list_disk_targets():
        source_image, destination_image = (
            inspect_image(guest, target, host) for host in testbed.hosts
        )
        record_stack_message(
            "sparse-copy", describe_allocation(target, guest, source_image, destination_image)
        )
        run_in_guest(guest, f"blkdiscard -o {48 * MIB} -l {8 * MIB} /dev/{target}")
        allocated_after_discard = inspect_image(guest, target, testbed.destination).allocated_size
        assert allocated_after_discard <= destination_image.allocated_size - 7 * MIB


@pytest.mark.requirement("LM-CAP-03", "LM-LOC-02")
@pytest.mark.slow
def test_eight_disks_at_once(testbed: Testbed) -> None:
    """
    Eight disks move in a single migration.

    Preconditions: local disks with the formats raw and qcow2 and the buses virtio and SCSI in
    turn; a bandwidth limit low enough to observe each disk.
    Expected: every disk is copied, equal in every block. A metric of the migration, for example
    `disk_vda_mib`, states the copied data of each disk.
    """
    variants = itertools.cycle(itertools.product(DiskFormat, (DiskBus.VIRTIO, DiskBus.SCSI)))
    disks = tuple(
        DiskSpec(StoreKind.LOCAL, disk_format, size_mib=32, bus=bus)
        for disk_format, bus in itertools.islice(variants, 8)
    )
    guest = testbed.make_guest(GuestSpec(disks=disks))
    for target in guest.spec.list_disk_targets():
        fill_disk(guest, target, offset_mib=20, size_mib=2)

    outcome = testbed.migrate(guest, replace(VERIFIED_COPY_PLAN, bandwidth_mib_s=32))

    figures = compute_metrics(outcome)
    assert list_copied_targets(outcome) == set(guest.spec.list_disk_targets())
    assert [
        target
        for target in guest.spec.list_disk_targets()
        if (figures[f"disk_{target}_mib"] or 0) < 2
    ] == []


@pytest.mark.requirement("LM-CAP-03")
@pytest.mark.beyond_requirement
def test_synchronous_writes(testbed: Testbed) -> None:
    """
    If the plan requests synchronous disk writes to both ends, the guest arrives with the disk.

    Preconditions: the guest writes hundreds of blocks a second.
    Expected: the test is unsupported if libvirt does not know the flag for synchronous writes.
    Otherwise the guest runs at the destination on the copy, which is equal in every block. The
    test cannot prove the use of the mode, because QEMU does not report the mode.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,), load=DISK_LOAD))

    with raise_unsupported_if(
        lambda error: (
            isinstance(error, MigrationError) and "unsupported flag" in error.message.lower()
        ),
        explanation="libvirt does not support synchronous disk writes",
    ):
        testbed.migrate(guest, replace(VERIFIED_COPY_PLAN, write_mode=WriteMode.SYNCHRONOUS))

    assert guest.host is testbed.destination
    assert inspect_image(guest, "vda", testbed.destination).allocated_size > 0


def read_write_time(pair: HostPair, path: object) -> str:
    """Return the time of the last write to the image at the destination."""
    return pair.destination.shell.run("stat", "-c", "%.9Y", str(path)).stdout.strip()
