"""Specify the devices, the load and the start of a guest.

`migqual.hosts` renders the domain XML from the specification.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from migqual.inventory.stores import StoreKind


class DiskFormat(StrEnum):
    """Image format of a disk."""

    RAW = "raw"
    QCOW2 = "qcow2"


class DiskBus(StrEnum):
    """Bus of a disk in the guest."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"

    @property
    def target_prefix(self) -> str:
        """Return the prefix of libvirt's target names on the bus, ``vd`` or ``sd``."""
        return "vd" if self is DiskBus.VIRTIO else "sd"


class Medium(StrEnum):
    """Drive in the guest: a disk, a CD-ROM drive with an image, or an empty CD-ROM drive."""

    DISK = "disk"
    CDROM = "cdrom"
    EMPTY_CDROM = "empty-cdrom"


class DiskAccess(StrEnum):
    """Permission to write to a disk: for one guest, for no guest, or for several guests at once."""

    EXCLUSIVE = "own"
    READ_ONLY = "read-only"
    SHAREABLE = "shareable"


class CacheMode(StrEnum):
    """Cache mode of a disk, with the names of libvirt's domain XML."""

    NONE = "none"
    DIRECTSYNC = "directsync"
    WRITETHROUGH = "writethrough"
    WRITEBACK = "writeback"
    UNSAFE = "unsafe"


class Firmware(StrEnum):
    """Firmware of a guest."""

    BIOS = "bios"
    UEFI = "uefi"


class Persistence(StrEnum):
    """Persistence of a guest in libvirt. libvirt forgets a transient guest at power-off."""

    PERSISTENT = "persistent"
    TRANSIENT = "transient"


class WritePattern(StrEnum):
    """Order in which the memory load of a guest writes pages.

    Attributes:
        HOT_SPOT: Nine of ten writes go to the same tenth of the pages.
    """

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    HOT_SPOT = "hotspot"


class PageContent(StrEnum):
    """Content that the memory load of a guest writes to pages."""

    RANDOM = "random"
    TEXT = "text"
    ZERO = "zero"


class WrittenPart(StrEnum):
    """Part of a page that the memory load writes: the whole page, or the first 64 bytes."""

    PAGE = "page"
    HEADER = "header"


@dataclass(frozen=True)
class DiskSpec:
    """The specification of a disk with an image on a store (place for images) of the inventory.

    Attributes:
        size_mib: Size in MiB.
        subfolder: If not empty, the image is in a separate folder of the store. For example,
            ``pool`` gives the folder ``VOLUME.pool``, where VOLUME is the name of the volume.
        create_options: Options for `qemu-img create -o`, e.g. ``("cluster_size=4k",)``.
        has_backing_file: True gives the image a backing file that contains data.
    """

    store: StoreKind
    format: DiskFormat = DiskFormat.RAW
    size_mib: int = 64
    bus: DiskBus = DiskBus.VIRTIO
    cache: CacheMode = CacheMode.NONE
    medium: Medium = Medium.DISK
    access: DiskAccess = DiskAccess.EXCLUSIVE
    subfolder: str = ""
    create_options: tuple[str, ...] = ()
    has_backing_file: bool = False

    def __str__(self) -> str:
        return f"{self.store}-{self.format}"

    @property
    def is_written_by_load(self) -> bool:
        """Return whether the guest load writes to the disk."""
        return self.medium is Medium.DISK and self.access is not DiskAccess.READ_ONLY


@dataclass(frozen=True)
class MemoryLoad:
    """A load in which the guest writes memory pages with known contents at a given rate.

    Attributes:
        size_mib: Size of the written memory in MiB.
        rate_mib_s: Rate of the writes in MiB/s. With 0, the guest writes each page only once, at
            the start. With None, the guest writes at the highest possible rate.
    """

    size_mib: int = 32
    rate_mib_s: int | None = 0
    pattern: WritePattern = WritePattern.RANDOM
    content: PageContent = PageContent.RANDOM
    written_part: WrittenPart = WrittenPart.PAGE

    @property
    def payload_arguments(self) -> tuple[str, ...]:
        """Return the arguments ``name=value`` of migqual-payload's command `memory start`."""
        rate = "max" if self.rate_mib_s is None else str(self.rate_mib_s)
        return (
            f"mib={self.size_mib}",
            f"rate_mib_s={rate}",
            f"pattern={self.pattern}",
            f"content={self.content}",
            f"touch={self.written_part}",
        )


@dataclass(frozen=True)
class DiskLoad:
    """A load in which the guest writes numbered blocks to a disk, and calls fsync after each block.

    Attributes:
        rate_per_s: Blocks per second. With None, the guest writes at the highest possible rate.
        span_mib: Size of the written area in MiB.
        block_kib: Size of a block in KiB.
    """

    rate_per_s: int | None = 20
    span_mib: int = 16
    block_kib: int = 4

    @property
    def payload_arguments(self) -> tuple[str, ...]:
        """Return the arguments ``name=value`` of migqual-payload's command `disk start`."""
        rate = "max" if self.rate_per_s is None else str(self.rate_per_s)
        return (f"rate_per_s={rate}", f"span_mib={self.span_mib}", f"block_kib={self.block_kib}")


@dataclass(frozen=True)
class GuestLoad:
    """The load in a guest during a migration.

    The default load is small: 32 MiB of memory with known contents, and 20 block writes per
    second on each writable disk. The checks after the migration need these data.
    """

    name: str = "idle"
    memory: MemoryLoad = field(default_factory=MemoryLoad)
    disk: DiskLoad = field(default_factory=DiskLoad)

    def __str__(self) -> str:
        return self.name


IDLE_LOAD = GuestLoad()
MEMORY_LOAD = GuestLoad(
    "memory", memory=MemoryLoad(size_mib=64, rate_mib_s=20, pattern=WritePattern.RANDOM)
)
DISK_LOAD = GuestLoad("disk", disk=DiskLoad(rate_per_s=200))


class StartMode(StrEnum):
    """Start of a guest: from a saved state if possible, or always with a boot."""

    RESTORED = "restored"
    BOOTED = "booted"


class CrashAction(StrEnum):
    """What libvirt does when the kernel of a guest crashes (`on_crash` of the domain XML)."""

    DESTROY = "destroy"
    RESTART = "restart"
    PRESERVE = "preserve"
    COREDUMP_DESTROY = "coredump-destroy"


@dataclass(frozen=True)
class GuestSpec:
    """The specification of a guest.

    The default guest has a Linux kernel, an initramfs and no disks.

    Attributes:
        memory_mib: Guest memory in MiB.
        nics: Number of NICs on the service network. The client probes the first NIC.
        huge_page_kib: Size of the huge pages that back the memory, in KiB. 0 means normal pages.
        numa_nodes: Number of NUMA nodes with equal shares of vCPUs and memory. 0 means no NUMA.
        cpu: CPU model. None takes `migqual_guest_cpu` of the inventory. Without this variable, a
            KVM guest has the CPU of the host.
        image: qcow2 image of a system that boots with UEFI and runs cloud-init. None means that the
            guest boots the default kernel and initramfs.
        shutdown_delay_s: Seconds that the guest waits between a shutdown request and power-off.
        dirty_ring_size: Entries in the dirty ring of each vCPU, a power of two. 0 uses KVM's
            dirty log. Only KVM guests have a dirty ring.

        on_crash: Action of libvirt after a crash of the guest. With a value, the guest gets a panic
            device, which reports the crash to QEMU. None means `destroy`, and no panic device.

    Example:
        Make a guest with 512 MiB, a qcow2 disk on the shared directory, and a memory load::

            disk = DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2)
            spec = GuestSpec(memory_mib=512, disks=(disk,), load=MEMORY_LOAD)
            guest = testbed.make_guest(spec)
    """

    memory_mib: int = 256
    vcpus: int = 1
    disks: tuple[DiskSpec, ...] = ()
    nics: int = 1
    huge_page_kib: int = 0
    numa_nodes: int = 0
    cpu: str | None = None
    machine: str | None = None
    firmware: Firmware = Firmware.BIOS
    persistence: Persistence = Persistence.PERSISTENT
    image: Path | None = None
    load: GuestLoad = IDLE_LOAD
    shutdown_delay_s: int = 0
    dirty_ring_size: int = 0
    start_mode: StartMode = StartMode.RESTORED
    on_crash: CrashAction | None = None

    @property
    def can_be_restored(self) -> bool:
        """Return whether the guest can start from a saved state.

        A guest with UEFI firmware or a system image always boots, because a part of the guest's
        state is on disks.
        """
        return (
            self.start_mode is StartMode.RESTORED
            and self.image is None
            and self.firmware is Firmware.BIOS
        )

    def derive_saved_state_spec(self) -> "GuestSpec":
        """Derive the specification of the guest that migqual boots to create a saved state.

        The derived specification has the same devices, but the idle load and raw images on a local
        store. Guests whose derived specifications are equal share a saved state. A restored guest
        gets the load and the images of its own specification.
        """
        plain_disk = DiskSpec(StoreKind.LOCAL)
        plain_fields = {
            name: getattr(plain_disk, name)
            for name in ("store", "format", "subfolder", "create_options", "has_backing_file")
        }
        disks = (replace(disk, **plain_fields) for disk in self.disks)
        return replace(
            self,
            disks=tuple(disks),
            load=IDLE_LOAD,
            persistence=Persistence.TRANSIENT,
            start_mode=StartMode.BOOTED,
        )

    def list_disk_targets(self) -> tuple[str, ...]:
        """List libvirt's target name of each disk in `disks`: vda, vdb, sda, ..."""
        disk_counts: dict[str, int] = {}
        names = []
        for disk in self.disks:
            number = disk_counts.get(disk.bus.target_prefix, 0)
            disk_counts[disk.bus.target_prefix] = number + 1
            names.append(disk.bus.target_prefix + chr(ord("a") + number))
        return tuple(names)

    def list_written_targets(self) -> tuple[str, ...]:
        """List libvirt's target names of the disks that the guest load writes to."""
        targets_and_disks = zip(self.list_disk_targets(), self.disks, strict=True)
        return tuple(target for target, disk in targets_and_disks if disk.is_written_by_load)
