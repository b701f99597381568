"""Pure: what the domain template needs to know of a guest and of the host that it starts on."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from migqual.hosts.volume import Volume
from migqual.image.guest import kernel_arguments
from migqual.model.guest import Architecture, DiskSpec, Firmware, GuestSpec

SESSION_PORT = 7007
PAYLOAD_PORT = (
    "org.migqual.0"  # name of the virtio-serial port, as `fixtures/guest/channel.c` knows it
)


@dataclass(frozen=True)
class Placement:
    """One guest on one host.

    virt       libvirt's domain type: ``kvm``, or ``qemu`` for TCG
    folder     where kernel and initramfs lie on both hosts
    networks   MAC and ``ADDRESS/PREFIX`` (or nothing) of each NIC
    cpu        vCPU model where the spec names none; empty leaves it to QEMU
    root       system disk of a guest with an image of its own
    seed       its cloud-init seed
    """

    name: str
    uuid: str
    spec: GuestSpec
    arch: Architecture
    virt: str
    folder: PurePosixPath
    networks: tuple[tuple[str, str], ...]
    volumes: tuple[Volume, ...]
    bridge: str
    console: str
    cpu: str = ""
    emulator: str | None = None
    root: Volume | None = None
    seed: PurePosixPath | None = None


def context(place: Placement) -> dict[str, Any]:
    """The variables of `fixtures/domains/guest.xml.j2`."""
    spec = place.spec
    direct = place.root is None
    uefi = spec.firmware is Firmware.UEFI or not direct or place.arch is Architecture.AARCH64
    return {
        "name": place.name,
        "uuid": place.uuid,
        "spec": spec,
        "virt": place.virt,
        "odd_memory_kib": odd_memory_kib(spec) if place.virt == "qemu" else 0,
        "dirty_ring": spec.dirty_ring if place.virt == "kvm" else 0,
        "arch": place.arch.value,
        "machine": spec.machine or place.arch.machine,
        "firmware": (Firmware.UEFI if uefi else Firmware.BIOS).value,
        "kernel": place.folder / "kernel" if direct else None,
        "initrd": place.folder / "initrd" if direct else None,
        "cmdline": kernel_arguments(
            networks=place.networks,
            port=SESSION_PORT,
            shutdown_delay=spec.shutdown_delay_s,
            arch=place.arch.value,
            emulated=place.virt == "qemu",
        ),
        "cpu": spec.cpu or place.cpu,
        "emulator": place.emulator,
        "disks": list(_disks(place)),
        "root": place.root,
        "seed": place.seed,
        "needs_scsi": any(disk.bus == "scsi" for disk in spec.disks),
        "nics": [{"mac": mac} for mac, _ in place.networks],
        "bridge": place.bridge,
        "console_log": place.console,
        "payload_port": PAYLOAD_PORT,
    }


def _disks(place: Placement) -> "list[dict[str, Any]]":
    parts = zip(place.spec.disks, place.volumes, place.spec.targets(), strict=True)
    return [_disk(place.name, disk, volume, target) for disk, volume, target in parts]


def _disk(guest: str, disk: DiskSpec, volume: Volume, target: str) -> dict[str, Any]:
    serial = f"{target}-{guest}"[:20]  # virtio-blk cuts there
    return {"spec": disk, "volume": volume, "target": target, "serial": serial}


def odd_memory_kib(spec: GuestSpec) -> int:
    """Guest memory under TCG: 8 KiB more than asked for, so that it is no multiple of 256 KiB.

    QEMU before 9.0 collects dirty pages of such blocks 64 at a time and then forgets to tell the
    emulated TLBs, so that the next writes to those pages are missed and the destination gets stale
    memory. A block that is no multiple takes the page-wise path, which does not forget. KVM does
    not use that path: hosts with acceleration get exactly the memory that the spec says.
    """
    return spec.memory_mib * 1024 + 8
