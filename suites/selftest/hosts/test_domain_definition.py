"""Domain XML is parsed into the parts relevant to a migration."""

import pytest

from migqual.hosts.domain_definition import DomainDefinition, parse_domain_xml

pytestmark = pytest.mark.selftest

DOMAIN_XML = """
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


def parse_domain(devices_xml: str = "") -> DomainDefinition:
    return parse_domain_xml(DOMAIN_XML.replace("DISKS", devices_xml))


def test_domain_size_and_type() -> None:
    domain = parse_domain()

    assert (domain.vcpus, domain.memory_mib, domain.hugepage_kib) == (4, 2048, 0)
    assert (domain.arch, domain.machine, domain.virt_type) == ("x86_64", "pc-q35-7.2", "kvm")
    assert (domain.cpu_mode, domain.cpu_model) == ("custom", "EPYC")
    assert domain.cpu_xml.startswith("<cpu")
    assert domain.has_agent_channel
    assert domain.blockers == ()


def test_domain_interfaces_and_bridges() -> None:
    assert [(nic.type, nic.source, nic.bridge) for nic in parse_domain().nics] == [
        ("bridge", "br0", "br0"),
        ("network", "lan", "virbr0"),
    ]


@pytest.mark.parametrize(
    ("backing", "page_kib"),
    [
        ("<hugepages/>", 2048),
        ('<hugepages><page size="1" unit="GiB"/></hugepages>', 1048576),
    ],
    ids=["default", "1G"],
)
def test_domain_huge_pages(backing: str, page_kib: int) -> None:
    xml = DOMAIN_XML.replace("<vcpu", f"<memoryBacking>{backing}</memoryBacking><vcpu")

    assert parse_domain_xml(xml.replace("DISKS", "")).hugepage_kib == page_kib


@pytest.mark.parametrize(
    ("source", "expected"),
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
def test_domain_disk_source(source: str, expected: str) -> None:
    (disk,) = parse_domain(f'<disk type="x" device="disk">{source}<target dev="vda"/></disk>').disks

    assert disk.source == expected
    assert (disk.target, disk.readonly, disk.shareable, disk.needs_secret) == (
        "vda",
        False,
        False,
        False,
    )


def test_domain_disk_attributes() -> None:
    flags = "<readonly/><shareable/><auth username='u'/><alias name='virtio-disk0'/>"
    driver = '<driver name="qemu" type="qcow2" cache="none"/>'
    (disk,) = parse_domain(f'<disk type="file"><source file="/x"/>{driver}{flags}</disk>').disks

    assert (disk.readonly, disk.shareable, disk.needs_secret) == (True, True, True)
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
def test_devices_that_block_migration(device: str, blocks: bool) -> None:  # noqa: FBT001 - a case
    assert bool(parse_domain(device).blockers) is blocks
