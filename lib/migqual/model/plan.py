"""The plan of a migration: all settings of one migration."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from migqual.errors import UsageError
from migqual.model.qemu_parameter import QemuParameter


class Control(StrEnum):
    """Program that drives a migration: migqual (DIRECT), or the source's libvirt (PEER_TO_PEER)."""

    DIRECT = "direct"
    PEER_TO_PEER = "p2p"


class Safety(StrEnum):
    """Use of libvirt's safety check of the disks. UNSAFE skips the check (`--unsafe`)."""

    CHECKED = "checked"
    UNSAFE = "unsafe"


class DefinitionPolicy(StrEnum):
    """Location of the guest's definition after the migration.

    Attributes:
        MOVES: The destination stores the definition, and the source removes the definition.
        STAYS: The source keeps the definition. The guest is transient at the destination.
    """

    MOVES = "moves"
    STAYS = "stays"


class StorageCopy(StrEnum):
    """Data of disks that a migration copies to the destination.

    Attributes:
        NONE: The migration copies no disk.
        ALL: The migration copies the data of a disk and of the disk's backing file.
        INCREMENTAL: The migration copies the data of a disk, but not of the disk's backing file.
    """

    NONE = "none"
    ALL = "all"
    INCREMENTAL = "inc"


class DestinationImages(StrEnum):
    """Origin of the images at the destination for copied disks.

    Attributes:
        CREATED: migqual creates the images, and refuses the migration if an image already exists.
        EXISTING: The user created the images, as openEuler's documentation describes.
    """

    CREATED = "created"
    EXISTING = "present"


class WriteMode(StrEnum):
    """Moment at which a write of the guest completes while a migration copies the disk.

    Attributes:
        BACKGROUND: The write completes when the source has the data. The destination gets the
            data later.
        SYNCHRONOUS: The write completes when source and destination have the data. The virsh
            option is `--copy-storage-synchronous-writes`.
    """

    BACKGROUND = "background"
    SYNCHRONOUS = "synchronous"


class Arrival(StrEnum):
    """State of the guest after the migration: running, or paused (`--suspend`)."""

    RUNNING = "running"
    PAUSED = "paused"


class Compression(StrEnum):
    """A compression method for guest memory. The value is libvirt's name of the method."""

    NONE = "none"
    XBZRLE = "xbzrle"
    MT = "mt"
    ZLIB = "zlib"
    ZSTD = "zstd"

    @property
    def needs_channels(self) -> bool:
        """Return whether the compression method needs multifd channels: True for zlib and zstd."""
        return self in {Compression.ZLIB, Compression.ZSTD}

    def build_compression_parameters(
        self, compression_options: "CompressionOptions"
    ) -> dict[str, Any]:
        """Build libvirt's typed parameters for the compression method.

        Raises:
            UsageError: `compression_options` sets an option that the method does not have.
        """
        if self is Compression.NONE:
            return {}
        prefix = f"compression.{self.value}"
        return {"compression": [self.value]} | {
            f"{prefix}.{_OPTION_NAMES[self][name]}": value
            for name, value in compression_options.list_set_options(self)
        }

    def build_virsh_options(self, compression_options: "CompressionOptions") -> list[str]:
        """Build the virsh options for the compression method.

        Raises:
            UsageError: `compression_options` sets an option that the method does not have.
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
    """Options of a compression method. None keeps QEMU's default.

    Attributes:
        threads: Number of compression threads at the source.
        decompress_threads: Number of decompression threads at the destination.
        cache_bytes: Size of the page cache of xbzrle at the source, in bytes.
    """

    level: int | None = None
    threads: int | None = None
    decompress_threads: int | None = None
    cache_bytes: int | None = None

    def list_set_options(self, method: Compression) -> list[tuple[str, int]]:
        """List name and value of each option that is not None.

        Raises:
            UsageError: An option is set that `method` does not have.
        """
        set_options = [(name, value) for name, value in asdict(self).items() if value is not None]
        for name, _ in set_options:
            if name not in _OPTION_NAMES[method]:
                allowed_names = ", ".join(_OPTION_NAMES[method]) or "none"
                raise UsageError(
                    f"compression method {method} has no option {name}",
                    remedy=f"remove the option {name}; {method} has the options: {allowed_names}",
                )
        return set_options


class TimeoutAction(StrEnum):
    """Action if a migration exceeds the timeout: suspend the guest, or switch to post-copy."""

    SUSPEND = "suspend"
    POSTCOPY = "postcopy"


class Guard(StrEnum):
    """Use of migqual's guard, the check that refuses unsafe migrations.

    OFF is only for tests of how libvirt and QEMU react to an unsafe migration.
    """

    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class AutoConverge:
    """First throttle and increment of auto-converge in percent. None keeps QEMU's default."""

    initial_percent: int | None = None
    increment_percent: int | None = None


@dataclass(frozen=True)
class Timeout:
    """An action that migqual takes if the migration still runs after `seconds`."""

    seconds: float
    action: TimeoutAction = TimeoutAction.SUSPEND


@dataclass(frozen=True)
class Plan:
    """The settings of a migration.

    Bandwidths are in MiB/s (libvirt's unit), downtime in ms, times in s.

    Attributes:
        channels: Number of parallel connections (multifd). 0 uses one connection, without
            multifd.
        tls_destination: Name in the destination's certificate. None means the migration address.
        downtime_ms: Downtime limit. None keeps QEMU's default.
        postcopy: True permits post-copy. `timeout` or `postcopy_after_precopy` starts post-copy.
        postcopy_after_precopy: True starts post-copy after the first iteration.
        postcopy_resume: True continues a migration in post-copy that lost its connection.
        migrate_disks: libvirt's target names of the disks to copy. Empty means libvirt's default.
        disks_port: TCP port for copied disks at the destination. None lets libvirt choose the port.
        disks_uri: Address for copied disks, ``tcp://ADDRESS:PORT``. None means the migration
            address.
        destination_xml: Domain XML for the destination. None means the domain XML of the source.
        qemu_parameters: QEMU's migration parameters for which libvirt has no option.
        deadline_s: Time limit of the migration in s. After the limit, migqual aborts the migration.

    Raises:
        UsageError: Two settings contradict each other, or a setting needs another setting that
            is missing.

    Example:
        Migrate a guest over TLS with four channels and with a bandwidth limit of 200 MiB/s::

            plan = Plan(tls=True, channels=4, bandwidth_mib_s=200)
            outcome = testbed.migrate(guest, plan)

        Switch to post-copy when the first iteration over the memory has ended::

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
    postcopy_resume: bool = False
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
                f"the plan has a negative number of channels: {self.channels}",
                remedy="set channels to the number of parallel connections, or to 0 for no multifd",
            )
        if self.compression.needs_channels and self.channels == 0:
            raise UsageError(
                f"the plan has the compression {self.compression}, but channels is 0",
                remedy="set channels to 2 or more",
            )
        self.compression_options.list_set_options(self.compression)
        if self.tls_destination is not None and not self.tls:
            raise UsageError(
                "the plan sets tls_destination, but tls is False", remedy="set tls=True in the plan"
            )
        if self.postcopy_bandwidth_mib_s is not None and not self.postcopy:
            raise UsageError(
                "the plan sets postcopy_bandwidth_mib_s, but postcopy is False",
                remedy="set postcopy=True in the plan",
            )
        if self.postcopy_after_precopy and not self.postcopy:
            raise UsageError(
                "the plan sets postcopy_after_precopy, but postcopy is False",
                remedy="set postcopy=True in the plan",
            )
        if self.postcopy_resume and not self.postcopy:
            raise UsageError(
                "the plan sets postcopy_resume, but postcopy is False",
                remedy="set postcopy=True in the plan",
            )
        if self.timeout and self.timeout.action is TimeoutAction.POSTCOPY and not self.postcopy:
            raise UsageError(
                "the plan has a timeout with the action POSTCOPY, but postcopy is False",
                remedy="set postcopy=True in the plan",
            )
        if self.copy_storage is StorageCopy.NONE:
            self._refuse_storage_options()
        if self.disks_port is not None and self.disks_uri is not None:
            raise UsageError(
                "the plan sets disks_port and disks_uri, but only one of the two is allowed",
                remedy="remove disks_port, and write the port into disks_uri",
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
                    f"the plan sets {name}, but copy_storage is NONE",
                    remedy=f"set copy_storage to ALL or INCREMENTAL, or leave out {name}",
                )

    def list_non_default_fields(self) -> dict[str, Any]:
        """Return the value of each setting that differs from the default, by name."""
        default_values = asdict(Plan())
        values = asdict(self)
        return {name: value for name, value in values.items() if value != default_values[name]}
