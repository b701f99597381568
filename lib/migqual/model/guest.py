"""What a guest is made of. Pure data; the hosts layer turns it into a domain."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from migqual.model.inventory import StoreKind


class DiskFormat(StrEnum):
    RAW = "raw"
    QCOW2 = "qcow2"


class DiskBus(StrEnum):
    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"

    @property
    def prefix(self) -> str:
        """First letters of the target names that libvirt uses on this bus."""
        return "vd" if self is DiskBus.VIRTIO else "sd"


class Medium(StrEnum):
    """What the guest sees: a disk, a CD-ROM drive with an image in it, or an empty one."""

    DISK = "disk"
    CDROM = "cdrom"
    EMPTY_CDROM = "empty-cdrom"


class Access(StrEnum):
    """Who may write to a disk: its guest, nobody, or several guests at once."""

    OWN = "own"
    READ_ONLY = "read-only"
    SHAREABLE = "shareable"


class CacheMode(StrEnum):
    NONE = "none"
    DIRECTSYNC = "directsync"
    WRITETHROUGH = "writethrough"
    WRITEBACK = "writeback"
    UNSAFE = "unsafe"


class Firmware(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


class Architecture(StrEnum):
    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def machine(self) -> str:
        return {Architecture.X86_64: "q35", Architecture.AARCH64: "virt"}[self]


class Persistence(StrEnum):
    """Whether libvirt keeps a definition of the guest when it is off."""

    PERSISTENT = "persistent"
    TRANSIENT = "transient"


class Pattern(StrEnum):
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    HOT_SPOT = "hotspot"


class Content(StrEnum):
    RANDOM = "random"
    TEXT = "text"
    ZERO = "zero"


@dataclass(frozen=True)
class DiskSpec:
    """One disk. Sizes in MiB; on a store of the inventory.

    folder   a folder of its own on a store of files, e.g. to have images in different ones
    options  of `qemu-img create -o`, e.g. ``("cluster_size=4k",)``
    backed   the image lies over a backing file that has contents
    """

    store: StoreKind
    format: DiskFormat = DiskFormat.RAW
    size_mib: int = 64
    bus: DiskBus = DiskBus.VIRTIO
    cache: CacheMode = CacheMode.NONE
    medium: Medium = Medium.DISK
    access: Access = Access.OWN
    folder: str = ""
    options: tuple[str, ...] = ()
    backed: bool = False

    def __str__(self) -> str:
        return f"{self.store}-{self.format}"

    @property
    def written(self) -> bool:
        """Whether the guest's load writes to it."""
        return self.medium is Medium.DISK and self.access is not Access.READ_ONLY


@dataclass(frozen=True)
class MemoryLoad:
    """Pages with contents that can be verified, dirtied at a rate; 0 leaves them as they are.

    rate_mib_s None dirties as fast as the guest can.
    """

    mib: int = 32
    rate_mib_s: int | None = 0
    pattern: Pattern = Pattern.RANDOM
    content: Content = Content.RANDOM
    touch: str = "page"

    @property
    def words(self) -> tuple[str, ...]:
        rate = "max" if self.rate_mib_s is None else str(self.rate_mib_s)
        return (
            f"mib={self.mib}",
            f"rate_mib_s={rate}",
            f"pattern={self.pattern}",
            f"content={self.content}",
            f"touch={self.touch}",
        )


@dataclass(frozen=True)
class DiskLoad:
    """Stamped blocks, each acknowledged after fsync. rate_per_s None writes as fast as it goes."""

    rate_per_s: int | None = 20
    span_mib: int = 16
    block_kib: int = 4

    @property
    def words(self) -> tuple[str, ...]:
        rate = "max" if self.rate_per_s is None else str(self.rate_per_s)
        return (f"rate_per_s={rate}", f"span_mib={self.span_mib}", f"block_kib={self.block_kib}")


@dataclass(frozen=True)
class Load:
    """What a guest does while it is migrated. The default is a witness at rest: 32 MiB of known
    pages, and on every disk a slow writer whose acknowledged blocks can be counted."""

    name: str = "idle"
    memory: MemoryLoad = field(default_factory=MemoryLoad)
    disk: DiskLoad = field(default_factory=DiskLoad)

    def __str__(self) -> str:
        return self.name


IDLE = Load()
MEMORY_LOADED = Load("memory", memory=MemoryLoad(mib=64, rate_mib_s=20, pattern=Pattern.RANDOM))
DISK_LOADED = Load("disk", disk=DiskLoad(rate_per_s=200))


class Start(StrEnum):
    """How a guest comes up: restored from a state saved at rest where that can be, or booted."""

    RESTORED = "restored"
    BOOTED = "booted"


@dataclass(frozen=True)
class GuestSpec:
    """A guest. Default: the distribution's kernel with an initramfs; nothing on its disks is
    needed to run.

    memory_mib  guest memory, MiB
    cpu         vCPU model; None takes the inventory's, then the host's own
    image       a qcow2 system image (UEFI) to boot from, with a cloud-init seed, in place of the
                initramfs
    nics        number of service NICs; the first has the address that the client watches
    dirty_ring  entries of each vCPU's ring of dirty pages, a power of two; 0 has KVM's log. A guest
                that is emulated has neither
    """

    memory_mib: int = 256
    vcpus: int = 1
    disks: tuple[DiskSpec, ...] = ()
    nics: int = 1
    cpu: str | None = None
    machine: str | None = None
    firmware: Firmware = Firmware.BIOS
    persistence: Persistence = Persistence.PERSISTENT
    image: Path | None = None
    load: Load = IDLE
    shutdown_delay_s: int = 0
    dirty_ring: int = 0
    start: Start = Start.RESTORED

    @property
    def can_be_restored(self) -> bool:
        """Whether one saved state serves every guest of this shape. Not where the firmware or an
        image of its own keeps state on disks."""
        return (
            self.start is Start.RESTORED and self.image is None and self.firmware is Firmware.BIOS
        )

    def shape(self) -> "GuestSpec":
        """The spec of the guest whose saved state serves this one: the same devices, no load, and
        plain images, which hold nothing when a guest of ours has just booted."""
        plain = DiskSpec(StoreKind.LOCAL)
        alike = {
            name: getattr(plain, name)
            for name in ("store", "format", "folder", "options", "backed")
        }
        disks = (replace(disk, **alike) for disk in self.disks)
        return replace(
            self,
            disks=tuple(disks),
            load=IDLE,
            persistence=Persistence.TRANSIENT,
            start=Start.BOOTED,
        )

    def targets(self) -> tuple[str, ...]:
        """libvirt target name of each disk, in order: vda, vdb, sda, ..."""
        used: dict[str, int] = {}
        names = []
        for disk in self.disks:
            number = used.get(disk.bus.prefix, 0)
            used[disk.bus.prefix] = number + 1
            names.append(disk.bus.prefix + chr(ord("a") + number))
        return tuple(names)

    def written(self) -> tuple[str, ...]:
        """Target names of the disks that the guest's load writes to."""
        pairs = zip(self.targets(), self.disks, strict=True)
        return tuple(target for target, disk in pairs if disk.written)
