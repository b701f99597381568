"""The domain XML of every kind of guest is valid according to libvirt's schema."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from uuid import UUID

import pytest
from lxml import etree

from migqual.architecture import Architecture
from migqual.errors import GuestError
from migqual.hosts import domain_xml
from migqual.hosts.domain_template import (
    DomainInputs,
    build_template_context,
    needs_uefi,
)
from migqual.hosts.firmware import FirmwareFiles
from migqual.hosts.tcg_memory import compute_tcg_memory_kib
from migqual.hosts.volume import Volume
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import (
    CacheMode,
    DiskBus,
    DiskFormat,
    DiskSpec,
    Firmware,
    GuestSpec,
)

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
BASE_INPUTS = DomainInputs(
    name="mq-1",
    uuid=str(UUID(int=7)),
    spec=GuestSpec(disks=DISKS, nics=2, vcpus=2),
    arch=Architecture.X86_64,
    virt_type="qemu",
    boot_folder=PurePosixPath("/var/lib/migqual/mq"),
    networks=(("52:54:00:00:00:01", "10.0.0.5/24"), ("52:54:00:00:00:02", "")),
    volumes=VOLUMES,
    bridge="br-svc",
    console_log="/var/log/libvirt/qemu/mq-1.console",
    libvirt_version=(9, 0, 0),
    default_cpu="qemu64",
)
FIRMWARE = FirmwareFiles("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd")


def render_and_parse(inputs: DomainInputs) -> etree._Element:
    return etree.fromstring(domain_xml.render_domain_xml(build_template_context(inputs)))


@pytest.mark.parametrize("arch", list(Architecture), ids=str)
@pytest.mark.parametrize("firmware", list(Firmware), ids=str)
@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
def test_domain_xml_of_every_kind_of_guest_is_valid(
    arch: Architecture, firmware: Firmware, virt_type: str
) -> None:
    """The rendered XML passes the schema; architecture and firmware are as requested."""
    assert domain_xml.SCHEMA_FILE.exists(), "libvirt's schema is not installed: nothing was checked"
    spec = replace(BASE_INPUTS.spec, firmware=firmware)
    files = FIRMWARE if needs_uefi(spec, arch) else None

    domain_element = render_and_parse(
        replace(BASE_INPUTS, spec=spec, arch=arch, virt_type=virt_type, firmware=files)
    )

    uses_uefi = firmware is Firmware.UEFI or arch is Architecture.AARCH64
    assert domain_element.xpath("string(os/type/@machine)") == arch.machine_type
    assert domain_element.xpath("string(os/loader)") == (FIRMWARE.code if uses_uefi else "")
    assert domain_element.xpath("devices/disk/target/@dev") == [
        "vda",
        "sda",
        "vdb",
    ]


@pytest.mark.parametrize("virt_type", ["kvm", "qemu"])
@pytest.mark.parametrize("arch", list(Architecture), ids=str)
def test_huge_pages_and_numa_nodes(arch: Architecture, virt_type: str) -> None:
    """In a guest with two NUMA nodes and huge pages, each node has half of the vCPUs and memory.

    The guest has exactly the memory of the GuestSpec, with KVM and with TCG. Other TCG guests have
    8 KiB of additional memory (see `compute_tcg_memory_kib`).
    """
    spec = GuestSpec(memory_mib=1024, vcpus=4, huge_page_kib=2048, numa_nodes=2)

    domain_element = render_and_parse(
        replace(
            BASE_INPUTS, spec=spec, volumes=(), arch=arch, virt_type=virt_type, firmware=FIRMWARE
        )
    )

    assert domain_element.xpath("memoryBacking/hugepages/page/@size") == ["2048"]
    assert [dict(cell.attrib) for cell in domain_element.iterfind("cpu/numa/cell")] == [
        {"id": "0", "cpus": "0-1", "memory": "512", "unit": "MiB"},
        {"id": "1", "cpus": "2-3", "memory": "512", "unit": "MiB"},
    ]
    assert "odd.ram" not in etree.tostring(domain_element, encoding=str)


def test_guest_with_an_image_boots_from_the_image() -> None:
    """A guest with an image has no kernel outside the image.

    The disk with the image boots first, and the seed is attached.
    """
    spec = GuestSpec(image=Path("/x.qcow2"))
    system_disk = Volume("file", PurePosixPath("/srv/root.qcow2"), "a")
    seed_image = PurePosixPath("/srv/seed.iso")

    domain_element = render_and_parse(
        replace(BASE_INPUTS, spec=spec, volumes=(), system_disk=system_disk, seed_image=seed_image)
    )

    assert domain_element.find("os/kernel") is None
    assert domain_element.find("devices/disk/boot") is not None
    assert domain_element.xpath("devices/disk[readonly]/source/@file") == ["/srv/seed.iso"]


def test_kvm_guest_has_no_tcg_settings() -> None:
    """Only a TCG guest has 8 KiB of additional memory and the kernel option `migqual.emulated`.

    A KVM guest has exactly the memory of the GuestSpec.
    """
    kvm_xml = domain_xml.render_domain_xml(
        build_template_context(replace(BASE_INPUTS, virt_type="kvm"))
    )
    tcg_xml = domain_xml.render_domain_xml(build_template_context(BASE_INPUTS))

    assert "odd.ram" not in kvm_xml
    assert "migqual.emulated" not in kvm_xml
    assert f"{compute_tcg_memory_kib(BASE_INPUTS.spec)}K" in tcg_xml
    assert compute_tcg_memory_kib(BASE_INPUTS.spec) % 256 == 8
    assert " migqual.emulated " in tcg_xml


@pytest.mark.parametrize("arch", list(Architecture), ids=str)
def test_dirty_ring_needs_kvm(arch: Architecture) -> None:
    """The dirty ring of a KVM guest is valid according to the schema.

    Without a ring size, or with TCG, the XML has no dirty ring.
    """
    ring_inputs = replace(
        BASE_INPUTS, arch=arch, spec=replace(BASE_INPUTS.spec, dirty_ring_size=4096)
    )

    domain_element = render_and_parse(replace(ring_inputs, virt_type="kvm"))

    assert domain_element.xpath("features/kvm/dirty-ring[@state='on']/@size") == ["4096"]
    assert render_and_parse(ring_inputs).find("features/kvm") is None
    assert render_and_parse(replace(BASE_INPUTS, virt_type="kvm")).find("features/kvm") is None


def test_invalid_xml_never_reaches_a_host() -> None:
    """Invalid XML is refused; the message of the schema names the line."""
    with pytest.raises(GuestError, match="line 1"):
        domain_xml.validate_domain_xml("<domain type='kvm'><name>x</name><nonsense/></domain>")
