"""Files of /proc and the two views of a disk are converted into facts."""

from dataclasses import replace

import pytest

from migqual.hosts.domain_definition import Disk
from migqual.preflight import host_facts
from migqual.preflight.disk_location import (
    BlockView,
    FileView,
    classify_block_location,
    classify_file_location,
)
from migqual.preflight.storage_facts import DiskLocation
from migqual.probes.fact import Fact, Missing

pytestmark = pytest.mark.selftest

X86_CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: EPYC
stepping\t: 1
flags\t\t: fpu avx

processor\t: 1
model\t\t: 9
"""
ARM_CPUINFO = """\
processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x48
CPU variant\t: 0x1
CPU part\t: 0xd01
CPU revision\t: 0
"""
SOURCE_VIEW = FileView("a", "/images", exists=True, inode=7, size_bytes=9, modified_s=1000)
SAME_INODE_VIEW = FileView("b", "/images", exists=True, inode=7, size_bytes=9, modified_s=400)
SAME_WRITE_TIME_VIEW = replace(SAME_INODE_VIEW, modified_s=997)
OTHER_INODE_VIEW = replace(SAME_INODE_VIEW, inode=8)
MISSING_FILE_VIEW = FileView("b", "/images", exists=False)
NBD_DISK = Disk("vda", "network", "nbd://s/x")
BLOCK_DEVICE_DISK = Disk("vda", "block", "/dev/x")
BLOCK_VIEW = BlockView("a", "64 MiB", ("0: 00",), "wwn1")
EXPORT_VIEW = BlockView(
    "a", "64 MiB", ("0: 00",), server_addresses=frozenset({"192.0.2.1", "2001:db8::1"})
)


@pytest.mark.parametrize(
    ("destination_view", "token_seen", "has_qemu_lock", "location"),
    [
        (SAME_INODE_VIEW, True, False, DiskLocation.SHARED),
        (SAME_INODE_VIEW, None, True, DiskLocation.SHARED),
        (SAME_INODE_VIEW, False, True, DiskLocation.SHARED),
        (SAME_INODE_VIEW, None, False, DiskLocation.AMBIGUOUS),
        (SAME_INODE_VIEW, False, False, DiskLocation.LOCAL),
        (SAME_WRITE_TIME_VIEW, False, False, DiskLocation.AMBIGUOUS),
        (replace(SAME_WRITE_TIME_VIEW, size_bytes=8), False, False, DiskLocation.LOCAL),
        (replace(SAME_WRITE_TIME_VIEW, inode=8), False, False, DiskLocation.LOCAL),
        (OTHER_INODE_VIEW, True, True, DiskLocation.AMBIGUOUS),
        (OTHER_INODE_VIEW, False, True, DiskLocation.LOCAL),
        (OTHER_INODE_VIEW, None, False, DiskLocation.LOCAL),
        (MISSING_FILE_VIEW, True, False, DiskLocation.AMBIGUOUS),
        (MISSING_FILE_VIEW, False, False, DiskLocation.LOCAL),
        (MISSING_FILE_VIEW, None, False, DiskLocation.LOCAL),
    ],
    ids=lambda value: str(value) if not isinstance(value, FileView) else f"inode{value.inode}",
)
def test_location_of_a_disk_file(
    destination_view: FileView,
    token_seen: bool | None,  # noqa: FBT001 - a case
    has_qemu_lock: bool,  # noqa: FBT001 - a case
    location: DiskLocation,
) -> None:
    actual, evidence = classify_file_location(
        SOURCE_VIEW, destination_view, token_visible=token_seen, lock_visible=has_qemu_lock
    )

    assert actual is location
    assert evidence


@pytest.mark.parametrize(
    ("disk", "source_view", "destination_view", "location"),
    [
        (NBD_DISK, EXPORT_VIEW, replace(EXPORT_VIEW, host="b"), DiskLocation.REMOTE),
        (
            NBD_DISK,
            EXPORT_VIEW,
            replace(EXPORT_VIEW, server_addresses=frozenset({"192.0.2.1"})),
            DiskLocation.REMOTE,
        ),
        (
            NBD_DISK,
            EXPORT_VIEW,
            replace(EXPORT_VIEW, server_addresses=frozenset({"192.0.2.2", "2001:db8::1"})),
            DiskLocation.AMBIGUOUS,
        ),
        (
            NBD_DISK,
            replace(EXPORT_VIEW, server_addresses=frozenset({"192.0.2.1"})),
            replace(EXPORT_VIEW, server_addresses=frozenset({"2001:db8::1"})),
            DiskLocation.AMBIGUOUS,
        ),
        (
            NBD_DISK,
            replace(EXPORT_VIEW, server_addresses=frozenset({"127.0.0.1"})),
            replace(EXPORT_VIEW, server_addresses=frozenset({"127.0.0.1"})),
            DiskLocation.AMBIGUOUS,
        ),
        (
            NBD_DISK,
            EXPORT_VIEW,
            replace(EXPORT_VIEW, server_addresses=frozenset()),
            DiskLocation.AMBIGUOUS,
        ),
        (NBD_DISK, BLOCK_VIEW, Missing("refused"), DiskLocation.UNREACHABLE),
        (NBD_DISK, Missing("refused"), BLOCK_VIEW, DiskLocation.UNREACHABLE),
        (NBD_DISK, BLOCK_VIEW, replace(BLOCK_VIEW, reported_size="32 MiB"), DiskLocation.LOCAL),
        (NBD_DISK, BLOCK_VIEW, replace(BLOCK_VIEW, first_block=("0: 01",)), DiskLocation.LOCAL),
        (BLOCK_DEVICE_DISK, BLOCK_VIEW, replace(BLOCK_VIEW, host="b"), DiskLocation.REMOTE),
        (
            BLOCK_DEVICE_DISK,
            replace(BLOCK_VIEW, device_id=""),
            replace(BLOCK_VIEW, device_id=""),
            DiskLocation.AMBIGUOUS,
        ),
        (BLOCK_DEVICE_DISK, BLOCK_VIEW, replace(BLOCK_VIEW, device_id="wwn2"), DiskLocation.LOCAL),
        (BLOCK_DEVICE_DISK, BLOCK_VIEW, Missing("no such device"), DiskLocation.LOCAL),
        (BLOCK_DEVICE_DISK, Missing("no such device"), BLOCK_VIEW, DiskLocation.AMBIGUOUS),
    ],
)
def test_location_of_a_block_device_or_export(
    disk: Disk,
    source_view: Fact[BlockView],
    destination_view: Fact[BlockView],
    location: DiskLocation,
) -> None:
    actual, evidence = classify_block_location(disk, source_view, destination_view)

    assert actual is location
    assert evidence


def test_available_memory_from_meminfo() -> None:
    assert host_facts.parse_available_mib("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n") == 2
    assert isinstance(host_facts.parse_available_mib("MemTotal: 4096 kB"), Missing)


@pytest.mark.parametrize(
    ("text", "signature", "flag"),
    [
        (
            X86_CPUINFO,
            "vendor_id AuthenticAMD, cpu family 25, model 1, stepping 1",
            "avx",
        ),
        (
            ARM_CPUINFO,
            "CPU implementer 0x48, CPU variant 0x1, CPU part 0xd01, CPU revision 0",
            "asimd",
        ),
    ],
    ids=["x86", "arm"],
)
def test_host_cpu_from_cpuinfo(text: str, signature: str, flag: str) -> None:
    cpu = host_facts.parse_host_cpu(text)

    assert not isinstance(cpu, Missing)
    assert cpu.signature == signature
    assert flag in cpu.flags


def test_host_cpu_without_name_in_cpuinfo() -> None:
    assert isinstance(host_facts.parse_host_cpu("processor : 0"), Missing)
