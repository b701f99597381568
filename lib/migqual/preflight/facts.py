"""What preflight knows. Frozen data; a fact that could not be had says why (`Missing`).

Sizes in MiB unless the name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypeVar

from migqual.model.plan import Plan, StorageCopy
from migqual.preflight.definition import Definition, Disk, Nic

T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """A fact that could not be had."""

    why: str


Fact: TypeAlias = T | Missing


class Place(StrEnum):
    """Where a disk is, as probes on both hosts found it.

    shared       one file, seen through both hosts
    remote       one export or LUN, opened from both hosts
    local        the source's own; the destination has none, or another of that name
    unreachable  not the source's own, but one of the hosts cannot open it
    ambiguous    the probes do not tell
    """

    SHARED = "shared"
    REMOTE = "remote"
    LOCAL = "local"
    UNREACHABLE = "unreachable"
    AMBIGUOUS = "ambiguous"

    @property
    def common(self) -> bool:
        """Both hosts work on one and the same disk."""
        return self in {Place.SHARED, Place.REMOTE}

    @property
    def known(self) -> bool:
        """The probes told."""
        return self not in {Place.AMBIGUOUS, Place.UNREACHABLE}


@dataclass(frozen=True)
class Space:
    """Room that a copy of a disk needs on a file system of the destination.

    mount  where that file system is mounted
    """

    needed_mib: int
    available_mib: int
    mount: str


@dataclass(frozen=True)
class Image:
    """An image as `qemu-img info` describes it. Sizes in bytes.

    length   of the file; more than what is allocated where it has holes
    options  what `qemu-img create -o` needs for another one like it
    backing  full path of the backing file; empty without one
    """

    format: str
    virtual_size: int
    allocated: int
    length: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool = False
    backing: str = ""
    backing_format: str = ""


@dataclass(frozen=True)
class FileSystem:
    """A kind of file system: the number that statfs(2) gives it, and its name; of FUSE the name in
    the mount table, as in ``fuse.glusterfs``."""

    magic: int
    name: str


class Kind(StrEnum):
    """What lies at a path."""

    ABSENT = "absent"
    FILE = "file"
    DEVICE = "block device"
    OTHER = "neither file nor device"


class Folder(StrEnum):
    """Whether an image can be made in a folder."""

    WRITABLE = "writable"
    READ_ONLY = "read-only"
    MISSING = "missing"


@dataclass(frozen=True)
class Target:
    """What the destination has where the copy of a disk is to be.

    used  a running QEMU there, or whoever shares its locks, has the image open
    """

    path: str
    kind: Kind
    folder: Folder
    image: Fact[Image] | None = None
    used: bool = False


@dataclass(frozen=True)
class DiskFact:
    """One disk of the guest. From `space` to `backing_equal` asked for only where the disk is not
    common.

    filesystem     what a file lies on at the source
    backing_equal  whether the destination has the backing file, with the same contents
    """

    disk: Disk
    place: Place
    evidence: str
    space: Fact[Space] | None = None
    image: Fact[Image] | None = None
    target: Fact[Target] | None = None
    backing_equal: Fact[bool] | None = None
    filesystem: Fact[FileSystem] | None = None


@dataclass(frozen=True)
class Storage:
    """The disks of a move.

    disks    all that have a medium
    targets  of all disks and drives of the guest
    there    the same in the definition that the plan gives the destination; None: it gives none
    """

    source: str
    destination: str
    plan: Plan
    disks: tuple[DiskFact, ...]
    targets: tuple[str, ...]
    there: tuple[str, ...] | None = None

    @property
    def copied(self) -> tuple[DiskFact, ...]:
        """Those that the plan copies: all that are the guest's own to write, as libvirt chooses
        them, or those that it names."""
        if self.plan.copy_storage is StorageCopy.NONE:
            return ()
        named = self.plan.migrate_disks
        if named:
            return tuple(fact for fact in self.disks if fact.disk.target in named)
        return tuple(fact for fact in self.disks if fact.disk.own)


class Agent(StrEnum):
    ANSWERS = "answers"
    SILENT = "silent"
    NO_CHANNEL = "no channel"


@dataclass(frozen=True)
class Health:
    """The guest as its host sees it.

    job            ``none``, or the job's kind
    disk_errors    target to what its disk reports; empty when all is well
    qemu_blockers  QEMU's own reasons against a migration
    """

    state: str
    job: Fact[str]
    agent: Fact[Agent]
    disk_errors: Fact[Mapping[str, str]]
    qemu_blockers: Fact[tuple[str, ...]]


@dataclass(frozen=True)
class HostCpu:
    """hardware: what the kernel reads from the CPU itself: vendor, family, model, stepping."""

    hardware: str
    name: str
    flags: frozenset[str]


@dataclass(frozen=True)
class HostFacts:
    """free_hugepages_mib  in pages of the guest's size, where it has its memory in huge pages"""

    name: str
    arch: str
    cpus: int
    memory_mib: int
    available_mib: Fact[int]
    cpu: Fact[HostCpu]
    versions: Mapping[str, str]
    free_hugepages_mib: Fact[int] | None = None


@dataclass(frozen=True)
class Offer:
    """What the destination's hypervisor has for this guest.

    max_vcpus  of the guest's machine type; missing when it does not know the machine type
    cpu        ``identical`` or ``superset``: its CPU has all that the guest's CPU asks for;
               otherwise the words with which libvirt says what lacks
    """

    max_vcpus: Fact[int]
    cpu: Fact[str]

    @property
    def has_cpu(self) -> bool:
        return self.cpu in {"identical", "superset"}


class Channel(StrEnum):
    """What a connection between the hosts is for."""

    CONTROL = "control"
    DATA = "data"
    LIBVIRT = "libvirt"


@dataclass(frozen=True)
class Reach:
    """One connection tried. `passed` is missing where it could not be tried."""

    channel: Channel
    origin: str
    target: str
    place: str
    passed: Fact[bool]
    words: str = ""


@dataclass(frozen=True)
class Segment:
    """The bridges of one service interface, and whether frames pass between them.

    there  the destination's bridge; missing where it has none of that name
    """

    nic: Nic
    here: Fact[str]
    there: Fact[str]
    passed: Fact[bool]


@dataclass(frozen=True)
class Login:
    """What the SSH server of a host lets in.

    key          missing when the key of the inventory does not open it
    methods      what the server offers besides keys
    wrong_key    whether it let a stranger's key in
    unknown_host whether we went on although its host key was not known
    """

    host: str
    key: Fact[bool]
    methods: Fact[frozenset[str]]
    wrong_key: Fact[bool]
    unknown_host: Fact[bool]


@dataclass(frozen=True)
class Seen:
    """All that is known of a guest, its two hosts, and what lies between them.

    host_cpus  how each host's CPU compares with the other's: of the source, of the destination
    there      targets of the disks in the definition that the plan gives the destination
    """

    guest: str
    plan: Plan
    definition: Definition
    health: Health
    source: HostFacts
    destination: HostFacts
    offer: Offer
    host_cpus: Fact[tuple[str, str]]
    disks: tuple[DiskFact, ...] = ()
    reaches: tuple[Reach, ...] = ()
    segments: tuple[Segment, ...] = ()
    there: tuple[str, ...] | None = None

    @property
    def storage(self) -> Storage:
        """What of this concerns the disks."""
        return Storage(
            self.source.name,
            self.destination.name,
            self.plan,
            self.disks,
            tuple(disk.target for disk in self.definition.disks),
            self.there,
        )


@dataclass(frozen=True)
class Facts:
    """`seen` is missing when a host did not let us in."""

    logins: tuple[Login, ...] = field(default=())
    seen: Fact[Seen] = field(default_factory=lambda: Missing("nothing was asked"))
