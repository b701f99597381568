"""Domain XML of every kind of guest is valid by libvirt's own schema."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest
from lxml import etree

from migqual.errors import GuestError
from migqual.hosts import domain_xml
from migqual.hosts.placement import Placement, context, odd_memory_kib
from migqual.hosts.volume import Volume
from migqual.model.guest import (
    Architecture,
    CacheMode,
    DiskBus,
    DiskFormat,
    DiskSpec,
    Firmware,
    GuestSpec,
)
from migqual.model.inventory import StoreKind

pytestmark = pytest.mark.selftest

DISKS = (
    DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2, cache=CacheMode.WRITEBACK),
    DiskSpec(StoreKind.NBD, bus=DiskBus.SCSI),
    DiskSpec(StoreKind.ISCSI),
)
VOLUMES = (
    Volume("file", PurePosixPath("/srv/a & b.qcow2"), "a"),
    Volume("network", PurePosixPath("/x"), "s", "nbd", "export", "10.0.0.9", 10809),
    Volume("network", PurePosixPath("/y"), "s", "iscsi", "iqn.2026-01.x:y/1", "10.0.0.9", 3260),
)
BASE = Placement(
    name="mq-1",
    uuid=str(UUID(int=7)),
    spec=GuestSpec(disks=DISKS, nics=2, vcpus=2),
    arch=Architecture.X86_64,
    virt="qemu",
    folder=PurePosixPath("/var/lib/migqual/mq"),
    networks=(("52:54:00:00:00:01", "10.0.0.5/24"), ("52:54:00:00:00:02", "")),
    volumes=VOLUMES,
    bridge="br-svc",
    console="/var/log/libvirt/qemu/mq-1.console",
    cpu="qemu64",
)


def rendered(place: Placement) -> etree._Element:
    return etree.fromstring(domain_xml.render(context(place)))


@pytest.mark.parametrize("arch", list(Architecture), ids=str)
@pytest.mark.parametrize("firmware", list(Firmware), ids=str)
@pytest.mark.parametrize("virt", ["kvm", "qemu"])
def test_every_kind_of_guest_is_valid(arch: Architecture, firmware: Firmware, virt: str) -> None:
    """Rendering checks against the schema; architecture and firmware are what was asked for."""
    assert domain_xml.SCHEMA.exists(), "libvirt's schema is not installed: nothing was checked"
    spec = replace(BASE.spec, firmware=firmware)

    found = rendered(replace(BASE, spec=spec, arch=arch, virt=virt))

    uefi = firmware is Firmware.UEFI or arch is Architecture.AARCH64
    assert found.xpath("string(os/type/@machine)") == arch.machine
    assert (found.xpath("string(os/@firmware)") == "efi") is uefi
    assert found.xpath("devices/disk/target/@dev") == [
        "vda",
        "sda",
        "vdb",
    ]


def test_guest_with_an_image_boots_from_it() -> None:
    """No kernel from outside; the image's disk boots first, the seed is there."""
    spec = GuestSpec(image=Path("/x.qcow2"))
    root = Volume("file", PurePosixPath("/srv/root.qcow2"), "a")
    seed = PurePosixPath("/srv/seed.iso")

    found = rendered(replace(BASE, spec=spec, volumes=(), root=root, seed=seed))

    assert found.find("os/kernel") is None
    assert found.find("devices/disk/boot") is not None
    assert found.xpath("devices/disk[readonly]/source/@file") == ["/srv/seed.iso"]


def test_accelerated_guest_has_nothing_that_only_emulation_needs() -> None:
    """The odd 8 KiB and the flushing of TLBs are for TCG; under KVM runs what the spec says."""
    accelerated = domain_xml.render(context(replace(BASE, virt="kvm")))
    emulated = domain_xml.render(context(BASE))

    assert "odd.ram" not in accelerated
    assert "migqual.emulated" not in accelerated
    assert f"{odd_memory_kib(BASE.spec)}K" in emulated
    assert odd_memory_kib(BASE.spec) % 256 == 8
    assert " migqual.emulated " in emulated


@pytest.mark.parametrize("arch", list(Architecture), ids=str)
def test_dirty_ring_is_for_kvm(arch: Architecture) -> None:
    """Valid by the schema; without a size, or emulated, there is none."""
    ringed = replace(BASE, arch=arch, spec=replace(BASE.spec, dirty_ring=4096))

    found = rendered(replace(ringed, virt="kvm"))

    assert found.xpath("features/kvm/dirty-ring[@state='on']/@size") == ["4096"]
    assert rendered(ringed).find("features/kvm") is None
    assert rendered(replace(BASE, virt="kvm")).find("features/kvm") is None


def test_invalid_xml_never_reaches_a_host() -> None:
    """The schema's complaint names the line."""
    with pytest.raises(GuestError, match="line 1"):
        domain_xml.check("<domain type='kvm'><name>x</name><nonsense/></domain>")
