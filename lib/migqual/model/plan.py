"""The plan of a migration: all options for the migration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from migqual.errors import UsageError
from migqual.model.qemu_parameter import QemuParameter


class Control(StrEnum):
    """Control of the migration: managed direct or managed peer-to-peer, in libvirt's terms."""

    DIRECT = "direct"
    PEER_TO_PEER = "p2p"


class Safety(StrEnum):
    """Use of libvirt's own safety check; `--unsafe` skips the check."""

    CHECKED = "checked"
    UNSAFE = "unsafe"


class DefinitionPolicy(StrEnum):
    """Location of the guest's definition after the migration.

    Attributes:
        MOVES: The destination stores the definition, and the source removes the definition.
        STAYS: The source keeps the definition; the guest is transient at the destination.
    """

    MOVES = "moves"
    STAYS = "stays"


class StorageCopy(StrEnum):
    """Copy of disks without shared storage: no disk, full copies, or incremental copies."""

    NONE = "none"
    ALL = "all"
    INCREMENTAL = "inc"


class DestinationImages(StrEnum):
    """Origin of the destination images for copied disks.

    Attributes:
        CREATED: The library creates the images, and refuses an existing image.
        EXISTING: The images exist before the migration, as in the documented procedure.
    """

    CREATED = "created"
    EXISTING = "present"


class WriteMode(StrEnum):
    """Completion of guest writes to a disk during the copy.

    The virsh option is `--copy-storage-synchronous-writes`.

    Attributes:
        BACKGROUND: The write is complete at the source; the copy follows in the background.
        SYNCHRONOUS: The write is complete only at both ends.
    """

    BACKGROUND = "background"
    SYNCHRONOUS = "synchronous"


class Arrival(StrEnum):
    """State of the guest after arrival: running, or paused by `--suspend`."""

    RUNNING = "running"
    PAUSED = "paused"


class Compression(StrEnum):
    """A compression method. The value is libvirt's name of the method."""

    NONE = "none"
    XBZRLE = "xbzrle"
    MT = "mt"
    ZLIB = "zlib"
    ZSTD = "zstd"

    @property
    def needs_channels(self) -> bool:
        """Return whether the method needs channels.

        libvirt offers zlib and zstd only on parallel connections.
        """
        return self in {Compression.ZLIB, Compression.ZSTD}

    def build_compression_parameters(
        self, compression_options: "CompressionOptions"
    ) -> dict[str, Any]:
        """Build libvirt's typed parameters for the method.

        Raises:
            UsageError: The method does not have an option set in `compression_options`.
        """
        if self is Compression.NONE:
            return {}
        prefix = f"compression.{self.value}"
        return {"compression": [self.value]} | {
            f"{prefix}.{_OPTION_NAMES[self][name]}": value
            for name, value in compression_options.list_set_options(self)
        }

    def build_virsh_options(self, compression_options: "CompressionOptions") -> list[str]:
        """Build the virsh options for the method.

        Raises:
            UsageError: The method does not have an option set in `compression_options`.
        """
        if self is Compression.NONE:
            return []
        virsh_options = ["--compressed", "--comp-methods", self.value]
        for name, value in compression_options.list_set_options(self):
            virsh_options += [f"--comp-{self.value}-{_OPTION_NAMES[self][name]}", str(value)]
        return virsh_options


# options of each method: field name -> libvirt's name
_OPTION_NAMES: Mapping[Compression, Mapping[str, str]] = {
    Compression.NONE: {},
    Compression.XBZRLE: {"cache_bytes": "cache"},
    Compression.MT: {"level": "level", "threads": "threads", "decompress_threads": "dthreads"},
    Compression.ZLIB: {"level": "level"},
    Compression.ZSTD: {"level": "level"},
}


@dataclass(frozen=True)
class CompressionOptions:
    """Options of a compression method; None keeps QEMU's default.

    Attributes:
        threads: Number of compression threads at the source.
        decompress_threads: Number of decompression threads at the destination.
        cache_bytes: Size of the xbzrle page cache in bytes. xbzrle sends only the differences
            to cached pages.
    """

    level: int | None = None
    threads: int | None = None
    decompress_threads: int | None = None
    cache_bytes: int | None = None

    def list_set_options(self, method: Compression) -> list[tuple[str, int]]:
        """List the name and value of each option with a value.

        Raises:
            UsageError: `method` does not have the option.
        """
        set_options = [(name, value) for name, value in asdict(self).items() if value is not None]
        for name, _ in set_options:
            if name not in _OPTION_NAMES[method]:
                allowed_names = ", ".join(_OPTION_NAMES[method]) or "none"
                raise UsageError(
                    f"compression method {method} has no option {name}",
                    remedy=f"options of {method}: {allowed_names}",
                )
        return set_options


class TimeoutAction(StrEnum):
    """Action after a timeout: suspend the guest, or switch to post-copy."""

    SUSPEND = "suspend"
    POSTCOPY = "postcopy"


class Guard(StrEnum):
    """Use of the library's own checks. OFF serves only to record the stack's behavior."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class AutoConverge:
    """Throttle of auto-converge in percent; None keeps QEMU's default."""

    initial_percent: int | None = None
    increment_percent: int | None = None


@dataclass(frozen=True)
class Timeout:
    """An action for a migration still running after `seconds`."""

    seconds: float
    action: TimeoutAction = TimeoutAction.SUSPEND


@dataclass(frozen=True)
class Plan:
    """The options of a migration.

    Bandwidths are in MiB/s (libvirt's unit), downtime in ms, times in s.

    Attributes:
        channels: Number of parallel connections; 0 uses the traditional single stream.
        tls_destination: Name in the destination's certificate, when different from the host's
            name.
        postcopy: True lets the guest run at the destination before all memory arrived.
            `timeout` or the end of the first pre-copy round triggers the switch to post-copy.
        disks_port: Port for disks at the destination; None leaves the choice to libvirt.
        disks_uri: Target for disks, ``tcp://ADDRESS:PORT``, when different from the target for
            guest memory.
        destination_xml: Definition at the destination, when different from the source's
            definition.
        qemu_parameters: QEMU migration parameters without a libvirt option.
        deadline_s: Time limit in s. After the limit the library aborts the migration.

    Raises:
        UsageError: Two options contradict each other, or an option lacks another required
            option.

    Example:
        Migrate a guest over TLS with four channels and with a bandwidth limit of 200 MiB/s::

            plan = Plan(tls=True, channels=4, bandwidth_mib_s=200)
            outcome = testbed.migrate(guest, plan)

        Switch to post-copy when the first round has ended::

            plan = Plan(postcopy=True, postcopy_after_precopy=True)
    """

    control: Control = Control.PEER_TO_PEER
    safety: Safety = Safety.CHECKED
    definition: DefinitionPolicy = DefinitionPolicy.MOVES
    guard: Guard = Guard.ON
    channels: int = 0
    tls: bool = False
    tls_destination: str | None = None
    compression: Compression = Compression.NONE
    compression_options: CompressionOptions = CompressionOptions()
    auto_converge: AutoConverge | None = None
    bandwidth_mib_s: int | None = None
    postcopy_bandwidth_mib_s: int | None = None
    downtime_ms: int | None = None
    timeout: Timeout | None = None
    postcopy: bool = False
    postcopy_after_precopy: bool = False
    copy_storage: StorageCopy = StorageCopy.NONE
    migrate_disks: tuple[str, ...] = ()
    destination_images: DestinationImages = DestinationImages.CREATED
    write_mode: WriteMode = WriteMode.BACKGROUND
    disks_port: int | None = None
    disks_uri: str | None = None
    arrival: Arrival = Arrival.RUNNING
    destination_xml: str | None = None
    qemu_parameters: tuple[QemuParameter, ...] = ()
    deadline_s: float = 120.0

    def __post_init__(self) -> None:
        if self.channels < 0:
            raise UsageError(
                f"channels is negative: {self.channels}",
                remedy="0 is a single stream; else give the number of parallel connections",
            )
        if self.compression.needs_channels and self.channels == 0:
            raise UsageError(
                f"compression {self.compression} needs parallel connections",
                remedy="set channels to 2 or more",
            )
        self.compression_options.list_set_options(self.compression)
        if self.tls_destination is not None and not self.tls:
            raise UsageError("tls_destination is set without tls", remedy="set tls=True")
        if self.postcopy_bandwidth_mib_s is not None and not self.postcopy:
            raise UsageError(
                "postcopy_bandwidth_mib_s is set without postcopy", remedy="set postcopy=True"
            )
        if self.postcopy_after_precopy and not self.postcopy:
            raise UsageError(
                "postcopy_after_precopy is set without postcopy", remedy="set postcopy=True"
            )
        if self.timeout and self.timeout.action is TimeoutAction.POSTCOPY and not self.postcopy:
            raise UsageError(
                "the timeout switches to post-copy, but postcopy is not set",
                remedy="set postcopy=True",
            )
        if self.copy_storage is StorageCopy.NONE:
            self._refuse_storage_options()
        if self.disks_port is not None and self.disks_uri is not None:
            raise UsageError(
                "disks_port and disks_uri cannot be used together",
                remedy="give only one of them; the URI contains a port",
            )

    def _refuse_storage_options(self) -> None:
        default_values = {field.name: field.default for field in fields(self)}
        for name in (
            "migrate_disks",
            "destination_images",
            "write_mode",
            "disks_port",
            "disks_uri",
        ):
            if getattr(self, name) != default_values[name]:
                raise UsageError(
                    f"{name} is set without copy_storage",
                    remedy=f"set copy_storage to ALL or INCREMENTAL, or leave out {name}",
                )

    def list_non_default_fields(self) -> dict[str, Any]:
        """List the fields with non-default values, as plain data for records."""
        default_values = asdict(Plan())
        values = asdict(self)
        return {name: value for name, value in values.items() if value != default_values[name]}
