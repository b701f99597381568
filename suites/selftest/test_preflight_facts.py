"""Reading what hosts and domains say: XML, /proc, and what two hosts saw of a disk."""

from dataclasses import replace

import pytest

from migqual.preflight import definition, host_facts
from migqual.preflight.definition import Disk
from migqual.preflight.facts import Fact, Missing, Place
from migqual.preflight.places import Block, FileView, place_of_block, place_of_file

pytestmark = pytest.mark.selftest

XML = """
<domain type="kvm">
  <name>vm</name>
  <memory unit="GiB">2</memory>
  <vcpu current="1">4</vcpu>
  <os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os>
  <cpu mode="custom"><model>EPYC</model></cpu>
  <devices>
    DISKS
    <interface type="bridge"><mac address="52:54:00:00:00:01"/><source bridge="br0"/></interface>
    <interface type="network"><mac address="52:54:00:00:00:02"/>
      <source network="lan" bridge="virbr0"/></interface>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
  </devices>
</domain>
"""
X86 = """\
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
ARM = """\
processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x48
CPU variant\t: 0x1
CPU part\t: 0xd01
CPU revision\t: 0
"""
HERE = FileView("a", "/images", exists=True, inode=7)
THERE = FileView("b", "/images", exists=True, inode=7)
OTHER = replace(THERE, inode=8)
NONE = FileView("b", "/images", exists=False)
NBD = Disk("vda", "network", "nbd://s/x")
DEVICE = Disk("vda", "block", "/dev/x")
LOOK = Block("a", "64 MiB", ("0: 00",), "wwn1")


def read(disks: str = "") -> definition.Definition:
    return definition.read(XML.replace("DISKS", disks))


def test_size_and_kind_of_a_guest() -> None:
    found = read()

    assert (found.vcpus, found.memory_mib, found.hugepage_kib) == (4, 2048, 0)
    assert (found.arch, found.machine, found.virt) == ("x86_64", "pc-q35-7.2", "kvm")
    assert (found.cpu_mode, found.cpu_model) == ("custom", "EPYC")
    assert found.cpu_xml.startswith("<cpu")
    assert found.agent_channel
    assert found.blockers == ()


def test_interfaces_and_their_bridges() -> None:
    assert [(nic.type, nic.source, nic.bridge) for nic in read().nics] == [
        ("bridge", "br0", "br0"),
        ("network", "lan", "virbr0"),
    ]


@pytest.mark.parametrize(
    ("backing", "kib"),
    [
        ("<hugepages/>", 2048),
        ('<hugepages><page size="1" unit="GiB"/></hugepages>', 1048576),
    ],
    ids=["default", "1G"],
)
def test_huge_pages(backing: str, kib: int) -> None:
    xml = XML.replace("<vcpu", f"<memoryBacking>{backing}</memoryBacking><vcpu")

    assert definition.read(xml.replace("DISKS", "")).hugepage_kib == kib


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ('<source file="/x.raw"/>', "/x.raw"),
        ('<source dev="/dev/x"/>', "/dev/x"),
        ('<source protocol="nbd" name="e"><host name="10.0.0.1" port="10809"/></source>',
         "nbd://10.0.0.1:10809/e"),
        ('<source protocol="iscsi" name="iqn.x/1"><host name="fd00::1" port="3260"/></source>',
         "iscsi://[fd00::1]:3260/iqn.x/1"),
        ('<source protocol="rbd" name="pool/x"><host name="m"/></source>', ""),
        ("", ""),
    ],
    ids=["file", "device", "nbd", "iscsi-ipv6", "rbd", "empty"],
)  # fmt: skip
def test_where_a_disk_is_said_to_be(source: str, place: str) -> None:
    (disk,) = read(f'<disk type="x" device="disk">{source}<target dev="vda"/></disk>').disks

    assert disk.source == place
    assert (disk.target, disk.readonly, disk.shareable, disk.locked) == ("vda", False, False, False)


def test_flags_of_a_disk() -> None:
    flags = "<readonly/><shareable/><auth username='u'/><alias name='virtio-disk0'/>"
    driver = '<driver name="qemu" type="qcow2" cache="none"/>'
    (disk,) = read(f'<disk type="file"><source file="/x"/>{driver}{flags}</disk>').disks

    assert (disk.readonly, disk.shareable, disk.locked) == (True, True, True)
    assert (disk.format, disk.cache, disk.alias) == ("qcow2", "none", "virtio-disk0")


@pytest.mark.parametrize(
    ("device", "blocks"),
    [
        ('<hostdev mode="subsystem" type="pci"/>', True),
        ('<hostdev mode="subsystem" type="usb"/>', True),
        ('<interface type="hostdev"/>', True),
        (
            '<interface type="hostdev"><teaming type="transient" persistent="n0"/></interface>',
            False,
        ),
        ('<shmem name="x"/>', True),
        ('<shmem name="x" role="master"/>', False),
        ('<filesystem type="mount"/>', True),
        ('<tpm><backend type="passthrough"/></tpm>', True),
        ('<tpm><backend type="emulator"/></tpm>', False),
        ('<disk type="nvme" device="disk"/>', True),
    ],
)
def test_devices_that_tie_a_guest_down(device: str, blocks: bool) -> None:  # noqa: FBT001 - a case
    assert bool(read(device).blockers) is blocks


@pytest.mark.parametrize(
    ("there", "token_seen", "locked", "place"),
    [
        (THERE, True, False, Place.SHARED),
        (THERE, None, True, Place.SHARED),
        (THERE, False, True, Place.SHARED),
        (THERE, None, False, Place.AMBIGUOUS),
        (THERE, False, False, Place.LOCAL),
        (OTHER, True, True, Place.AMBIGUOUS),
        (OTHER, False, True, Place.LOCAL),
        (OTHER, None, False, Place.LOCAL),
        (NONE, True, False, Place.AMBIGUOUS),
        (NONE, False, False, Place.LOCAL),
        (NONE, None, False, Place.LOCAL),
    ],
    ids=lambda value: str(value) if not isinstance(value, FileView) else f"inode{value.inode}",
)
def test_place_of_a_file(
    there: FileView,
    token_seen: bool | None,  # noqa: FBT001 - a case
    locked: bool,  # noqa: FBT001 - a case
    place: Place,
) -> None:
    found, evidence = place_of_file(HERE, there, token_seen=token_seen, locked=locked)

    assert found is place
    assert evidence


@pytest.mark.parametrize(
    ("disk", "here", "there", "place"),
    [
        (NBD, replace(LOOK, name=""), replace(LOOK, name="", host="b"), Place.REMOTE),
        (NBD, LOOK, Missing("refused"), Place.UNREACHABLE),
        (NBD, Missing("refused"), LOOK, Place.UNREACHABLE),
        (NBD, LOOK, replace(LOOK, length="32 MiB"), Place.LOCAL),
        (NBD, LOOK, replace(LOOK, rows=("0: 01",)), Place.LOCAL),
        (DEVICE, LOOK, replace(LOOK, host="b"), Place.REMOTE),
        (DEVICE, replace(LOOK, name=""), replace(LOOK, name=""), Place.AMBIGUOUS),
        (DEVICE, LOOK, replace(LOOK, name="wwn2"), Place.LOCAL),
        (DEVICE, LOOK, Missing("no such device"), Place.LOCAL),
        (DEVICE, Missing("no such device"), LOOK, Place.AMBIGUOUS),
    ],
)
def test_place_of_a_block_device_or_export(
    disk: Disk, here: Fact[Block], there: Fact[Block], place: Place
) -> None:
    found, evidence = place_of_block(disk, here, there)

    assert found is place
    assert evidence


def test_memory_that_can_be_had() -> None:
    assert host_facts.available_mib("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n") == 2
    assert isinstance(host_facts.available_mib("MemTotal: 4096 kB"), Missing)


@pytest.mark.parametrize(
    ("text", "hardware", "flag"),
    [
        (
            X86,
            "vendor_id AuthenticAMD, cpu family 25, model 1, stepping 1",
            "avx",
        ),
        (
            ARM,
            "CPU implementer 0x48, CPU variant 0x1, CPU part 0xd01, CPU revision 0",
            "asimd",
        ),
    ],
    ids=["x86", "arm"],
)
def test_cpu_of_a_host(text: str, hardware: str, flag: str) -> None:
    found = host_facts.host_cpu(text)

    assert not isinstance(found, Missing)
    assert found.hardware == hardware
    assert flag in found.flags


def test_cpu_that_is_not_named() -> None:
    assert isinstance(host_facts.host_cpu("processor : 0"), Missing)
