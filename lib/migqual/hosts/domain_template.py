"""Build the variables of the domain XML template for a guest, without a connection to a host."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from migqual.architecture import Architecture
from migqual.hosts.firmware import FirmwareFiles
from migqual.hosts.tcg_memory import compute_tcg_memory_kib, has_own_memory_layout
from migqual.hosts.volume import Volume
from migqual.image.guest_image import build_kernel_command_line
from migqual.model.guest_spec import DiskBus, DiskSpec, Firmware, GuestSpec

GAP_METER_PORT = 7007
PAYLOAD_CHANNEL_NAME = (
    "org.migqual.0"  # name of the virtio-serial port; `fixtures/guest/channel.c` has the same name
)
AUDIO_ELEMENT_VERSION = (7, 2)  # first release of libvirt with `audio` in the schema


@dataclass(frozen=True)
class DomainInputs:
    """The properties of a guest and of the host that starts the guest, for the XML template.

    Attributes:
        virt_type: Domain type of libvirt: ``kvm``, or ``qemu`` for TCG.
        boot_folder: Folder with kernel and initramfs, at the source and at the destination.
        networks: MAC address and ``ADDRESS/PREFIX`` of each NIC. The second text is empty for a NIC
            without an IP address.
        libvirt_version: Version of the host's libvirt. The template omits elements that the
            version does not know.
        has_ovs_bridge: Whether the bridge is a bridge of Open vSwitch.
        firmware: UEFI firmware of the host; None for a guest with BIOS.
        default_cpu: CPU model of the guest if the spec names no model. With an empty text, QEMU
            chooses the model.
        system_disk: System disk of a guest with a system image (`GuestSpec.image`).
        seed_image: Path of the cloud-init seed of a guest with a system image.
    """

    name: str
    uuid: str
    spec: GuestSpec
    arch: Architecture
    virt_type: str
    boot_folder: PurePosixPath
    networks: tuple[tuple[str, str], ...]
    volumes: tuple[Volume, ...]
    bridge: str
    console_log: str
    libvirt_version: tuple[int, ...]
    has_ovs_bridge: bool = False
    firmware: FirmwareFiles | None = None
    default_cpu: str = ""
    emulator: str | None = None
    system_disk: Volume | None = None
    seed_image: PurePosixPath | None = None


def build_template_context(inputs: DomainInputs) -> dict[str, Any]:
    """Build the variables of the template `fixtures/domains/guest.xml.j2`."""
    spec = inputs.spec
    is_direct_boot = inputs.system_disk is None
    return {
        "name": inputs.name,
        "uuid": inputs.uuid,
        "spec": spec,
        "virt_type": inputs.virt_type,
        "tcg_memory_kib": compute_tcg_memory_kib(spec)
        if inputs.virt_type == "qemu" and not has_own_memory_layout(spec)
        else 0,
        "dirty_ring": spec.dirty_ring_size if inputs.virt_type == "kvm" else 0,
        "arch": inputs.arch.value,
        "machine": spec.machine or inputs.arch.machine_type,
        "firmware": inputs.firmware,
        "has_audio_element": inputs.libvirt_version >= AUDIO_ELEMENT_VERSION,
        "kernel": inputs.boot_folder / "kernel" if is_direct_boot else None,
        "initrd": inputs.boot_folder / "initrd" if is_direct_boot else None,
        "cmdline": build_kernel_command_line(
            networks=inputs.networks,
            port=GAP_METER_PORT,
            shutdown_delay=spec.shutdown_delay_s,
            architecture=inputs.arch,
            emulated=inputs.virt_type == "qemu",
        ),
        "cpu": spec.cpu or inputs.default_cpu,
        "numa_cells": list(_list_numa_cells(spec)),
        "emulator": inputs.emulator,
        "disks": list(_list_disk_entries(inputs)),
        "system_disk": inputs.system_disk,
        "seed_image": inputs.seed_image,
        "needs_scsi": any(disk.bus is DiskBus.SCSI for disk in spec.disks),
        "nics": [{"mac": mac} for mac, _ in inputs.networks],
        "bridge": inputs.bridge,
        "has_ovs_bridge": inputs.has_ovs_bridge,
        "console_log": inputs.console_log,
        "payload_channel_name": PAYLOAD_CHANNEL_NAME,
    }


def _list_numa_cells(spec: GuestSpec) -> "Iterator[dict[str, int | str]]":
    """List the NUMA cells of a guest. The vCPUs of a cell are a range, for example ``0-1``."""
    for node in range(spec.numa_nodes):
        vcpus = spec.vcpus // spec.numa_nodes
        first_vcpu = node * vcpus
        yield {
            "id": node,
            "cpus": f"{first_vcpu}-{first_vcpu + vcpus - 1}",
            "memory_mib": spec.memory_mib // spec.numa_nodes,
        }


def needs_uefi(spec: GuestSpec, architecture: Architecture) -> bool:
    """Return whether a guest needs UEFI firmware.

    Guests with a system image and aarch64 guests always need UEFI. For other guests the spec
    decides.
    """
    return (
        spec.firmware is Firmware.UEFI
        or spec.image is not None
        or architecture is Architecture.AARCH64
    )


def _list_disk_entries(inputs: DomainInputs) -> "list[dict[str, Any]]":
    disks = zip(inputs.spec.disks, inputs.volumes, inputs.spec.list_disk_targets(), strict=True)
    return [_build_disk_entry(inputs.name, disk, volume, target) for disk, volume, target in disks]


def _build_disk_entry(
    guest_name: str, disk: DiskSpec, volume: Volume, target: str
) -> dict[str, Any]:
    serial = f"{target}-{guest_name}"[:20]  # virtio-blk cuts a longer serial
    return {"spec": disk, "volume": volume, "target": target, "serial": serial}
