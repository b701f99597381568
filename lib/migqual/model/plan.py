"""The plan: everything chosen for one migration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from migqual.errors import UsageError
from migqual.model.setting import Setting


class Control(StrEnum):
    """Who drives the migration: libvirt's documentation calls them managed direct and
    managed peer-to-peer."""

    DIRECT = "direct"
    PEER_TO_PEER = "p2p"


class Safety(StrEnum):
    """Whether libvirt's own safety check stands (`--unsafe` skips it)."""

    CHECKED = "checked"
    UNSAFE = "unsafe"


class Definition(StrEnum):
    """Where the guest is defined afterwards."""

    MOVES = "moves"
    STAYS = "stays"


class StorageCopy(StrEnum):
    NONE = "none"
    ALL = "all"
    INCREMENTAL = "inc"


class Images(StrEnum):
    """Where the destination's images of copied disks come from.

    CREATED  the library makes them; one that is there already is refused
    PRESENT  somebody made them before, as the documented procedure does
    """

    CREATED = "created"
    PRESENT = "present"


class Writes(StrEnum):
    """When a write of the guest to a disk that is being copied is done
    (`--copy-storage-synchronous-writes`)."""

    HERE = "background"
    BOTH_ENDS = "synchronous"


class Arrival(StrEnum):
    """Whether the guest runs as soon as it is at the destination (`--suspend` leaves it paused)."""

    RUNNING = "running"
    PAUSED = "paused"


class Compression(StrEnum):
    """A method, with its libvirt name and level parameter."""

    NONE = "none"
    XBZRLE = "xbzrle"
    MT = "mt"
    ZLIB = "zlib"
    ZSTD = "zstd"

    @property
    def needs_channels(self) -> bool:
        """libvirt offers zlib and zstd only on parallel connections."""
        return self in {Compression.ZLIB, Compression.ZSTD}

    def parameters(self, tuning: "Tuning") -> dict[str, Any]:
        """libvirt's typed parameters. Raises `UsageError` for a setting that the method has not."""
        if self is Compression.NONE:
            return {}
        prefix = f"compression.{self.value}"
        return {"compression": [self.value]} | {
            f"{prefix}.{_SETTINGS[self][name]}": value for name, value in tuning.chosen(self)
        }

    def options(self, tuning: "Tuning") -> list[str]:
        """What virsh calls the same."""
        if self is Compression.NONE:
            return []
        words = ["--compressed", "--comp-methods", self.value]
        for name, value in tuning.chosen(self):
            words += [f"--comp-{self.value}-{_SETTINGS[self][name]}", str(value)]
        return words


# the settings that each method has, as libvirt calls them
_SETTINGS: Mapping[Compression, Mapping[str, str]] = {
    Compression.NONE: {},
    Compression.XBZRLE: {"cache_bytes": "cache"},
    Compression.MT: {"level": "level", "threads": "threads", "decompress_threads": "dthreads"},
    Compression.ZLIB: {"level": "level"},
    Compression.ZSTD: {"level": "level"},
}


@dataclass(frozen=True)
class Tuning:
    """What a compression method is set to; None leaves QEMU's default.

    threads             compressing threads at the source
    decompress_threads  decompressing threads at the destination
    cache_bytes         of pages that xbzrle sends differences to
    """

    level: int | None = None
    threads: int | None = None
    decompress_threads: int | None = None
    cache_bytes: int | None = None

    def chosen(self, method: Compression) -> list[tuple[str, int]]:
        """What is set. Raises `UsageError` for a setting that `method` has not."""
        found = [(name, value) for name, value in asdict(self).items() if value is not None]
        for name, _ in found:
            if name not in _SETTINGS[method]:
                has = ", ".join(_SETTINGS[method]) or "no settings"
                raise UsageError(f"compression {method} has no {name}", remedy=f"it has {has}")
        return found


class TimeoutAction(StrEnum):
    SUSPEND = "suspend"
    POSTCOPY = "postcopy"


class Guard(StrEnum):
    """Whether the library's own checks stand. Off only where the stack's behaviour is recorded."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class AutoConverge:
    """Throttle in per cent; None leaves QEMU's default."""

    initial_percent: int | None = None
    increment_percent: int | None = None


@dataclass(frozen=True)
class Timeout:
    """What happens when the migration is not over after `seconds`."""

    seconds: float
    action: TimeoutAction = TimeoutAction.SUSPEND


@dataclass(frozen=True)
class Plan:
    """One migration. Bandwidths in MiB/s (libvirt's unit), downtime in ms, times in s.

    channels         0 is the single stream of old; 1 or more are parallel connections
    postcopy         the guest may go on at the destination before its memory is there: when
                     `timeout` says so, or after one round of pre-copy
    tls_destination  the name that the destination's certificate must bear, when it is not its own
    disks_port       the destination's port for disks; None leaves the choice to libvirt
    disks_uri        where disks go, ``tcp://ADDRESS:PORT``, when not where guest memory goes
    destination_xml  the definition at the destination, where it differs from the source's
    settings         parameters of QEMU that libvirt has no option for
    deadline_s       the migration is aborted when it is not over by then
    """

    control: Control = Control.PEER_TO_PEER
    safety: Safety = Safety.CHECKED
    definition: Definition = Definition.MOVES
    guard: Guard = Guard.ON
    channels: int = 0
    tls: bool = False
    tls_destination: str | None = None
    compression: Compression = Compression.NONE
    tuning: Tuning = Tuning()
    auto_converge: AutoConverge | None = None
    bandwidth_mib_s: int | None = None
    postcopy_bandwidth_mib_s: int | None = None
    downtime_ms: int | None = None
    timeout: Timeout | None = None
    postcopy: bool = False
    postcopy_after_precopy: bool = False
    copy_storage: StorageCopy = StorageCopy.NONE
    migrate_disks: tuple[str, ...] = ()
    images: Images = Images.CREATED
    writes: Writes = Writes.HERE
    disks_port: int | None = None
    disks_uri: str | None = None
    arrival: Arrival = Arrival.RUNNING
    destination_xml: str | None = None
    settings: tuple[Setting, ...] = ()
    deadline_s: float = 120.0

    def __post_init__(self) -> None:
        if self.channels < 0:
            raise UsageError(f"channels: {self.channels}", remedy="0 for one stream, or a count")
        if self.compression.needs_channels and self.channels == 0:
            raise UsageError(
                f"compression {self.compression} needs parallel connections",
                remedy="set channels to 2 or more",
            )
        self.tuning.chosen(self.compression)
        if self.tls_destination is not None and not self.tls:
            raise UsageError("tls_destination without tls", remedy="set tls=True")
        if self.postcopy_bandwidth_mib_s is not None and not self.postcopy:
            raise UsageError("a post-copy bandwidth without post-copy", remedy="set postcopy=True")
        if self.postcopy_after_precopy and not self.postcopy:
            raise UsageError(
                "post-copy after pre-copy without post-copy", remedy="set postcopy=True"
            )
        if self.timeout and self.timeout.action is TimeoutAction.POSTCOPY and not self.postcopy:
            raise UsageError("timeout to post-copy without post-copy", remedy="set postcopy=True")
        if self.copy_storage is StorageCopy.NONE:
            self._refuse_storage_options()
        if self.disks_port is not None and self.disks_uri is not None:
            raise UsageError("disks_port and disks_uri", remedy="the URI holds a port: give one")

    def _refuse_storage_options(self) -> None:
        default = {field.name: field.default for field in fields(self)}
        for name in ("migrate_disks", "images", "writes", "disks_port", "disks_uri"):
            if getattr(self, name) != default[name]:
                raise UsageError(f"{name} without copy_storage", remedy="set copy_storage")

    def chosen(self) -> dict[str, Any]:
        """What differs from the default, as plain data for records."""
        default = asdict(Plan())
        mine = asdict(self)
        return {name: value for name, value in mine.items() if value != default[name]}
