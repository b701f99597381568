"""Query disk images on a host, and the paths to which a migration copies disks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from migqual.hosts.host import Host
from migqual.probes.fact import Fact, fact_or_missing
from migqual.probes.probe_context import ProbeContext

HASH_SECONDS = 3600.0


@dataclass(frozen=True)
class ImageInfo:
    """The properties of a disk image, from `qemu-img info`. Sizes are in bytes.

    Attributes:
        file_size: Size of the file; larger than `allocated_size` for a file with holes.
        create_options: Values for `qemu-img create -o` to create a similar image, by option name.
        backing_file: Full path of the backing file; empty without a backing file.
    """

    format: str
    virtual_size: int
    allocated_size: int
    file_size: int = 0
    create_options: Mapping[str, str] = field(default_factory=dict)
    encrypted: bool = False
    backing_file: str = ""
    backing_format: str = ""


class PathKind(StrEnum):
    """The type of the object at a path on a host."""

    ABSENT = "absent"
    FILE = "file"
    DEVICE = "block device"
    OTHER = "neither file nor device"


class FolderState(StrEnum):
    """Whether the folder to which a disk is copied is writable, read-only or missing."""

    WRITABLE = "writable"
    READ_ONLY = "read-only"
    MISSING = "missing"


@dataclass(frozen=True)
class CopyDestination:
    """The object at the path on the destination to which a disk is copied.

    Attributes:
        folder_state: State of the folder of the path.
        image: The existing image; None without a regular file at the path.
        in_use: Whether a QEMU has the image open for writing. The QEMU may run at the destination,
            or on a host that shares file locks with the destination.
    """

    path: str
    kind: PathKind
    folder_state: FolderState
    image: Fact[ImageInfo] | None = None
    in_use: bool = False


_PATH_KINDS = {
    "regular file": PathKind.FILE,
    "regular empty file": PathKind.FILE,
    "block special file": PathKind.DEVICE,
}


def query_image_info(host: Host, path: str, image_format: str = "") -> ImageInfo:
    """Query an image with `qemu-img info`, even while a guest writes to the image.

    Args:
        host: Host with the image.
        path: Path of the image on the host.
        image_format: Format of the image; empty lets `qemu-img` detect the format. The detection
            is unsafe for a raw disk: a guest can write data of another format.

    Returns:
        The description of the image.

    Raises:
        HostError: `qemu-img` fails.
    """
    format_options = ("-f", image_format) if image_format else ()
    result = host.shell.run("qemu-img", "info", "-U", "--output=json", *format_options, path)
    stat_result = host.shell.run_unchecked("stat", "-L", "-c", "%s", path)
    return parse_image_info(
        json.loads(result.stdout), int(stat_result.stdout) if stat_result.status == 0 else 0
    )


def parse_image_info(info: Mapping[str, Any], file_size: int) -> ImageInfo:
    """Parse the output of `qemu-img info --output=json`; the function runs no command.

    Args:
        info: The parsed JSON.
        file_size: Size of the image file in bytes.

    Returns:
        The description of the image.
    """
    image_format, virtual_size = str(info["format"]), int(info["virtual-size"])
    allocated_size = int(info.get("actual-size", 0))
    return ImageInfo(
        format=image_format,
        virtual_size=virtual_size,
        allocated_size=allocated_size,
        file_size=file_size,
        create_options=_derive_create_options(
            info, image_format, virtual_size, allocated_size, file_size
        ),
        encrypted=bool(info.get("encrypted", False)),
        backing_file=str(info.get("full-backing-filename", info.get("backing-filename", ""))),
        backing_format=str(info.get("backing-filename-format", "")),
    )


def _derive_create_options(
    info: Mapping[str, Any],
    image_format: str,
    virtual_size: int,
    allocated_size: int,
    file_size: int,
) -> dict[str, str]:
    options: dict[str, str] = {}
    if allocated_size >= virtual_size:
        options["preallocation"] = "falloc"
    elif image_format == "qcow2" and file_size >= virtual_size:
        options["preallocation"] = "metadata"
    if image_format != "qcow2":
        return options
    format_details = info.get("format-specific", {}).get("data", {})
    options["cluster_size"] = str(info.get("cluster-size", 65536))
    options["compat"] = str(format_details.get("compat", "1.1"))
    if format_details.get("lazy-refcounts"):
        options["lazy_refcounts"] = "on"
    if format_details.get("extended-l2"):
        options["extended_l2"] = "on"
    if format_details.get("compression-type", "zlib") != "zlib":
        options["compression_type"] = str(format_details["compression-type"])
    return options


def probe_copy_destination(host: Host, path: str, probe_context: ProbeContext) -> CopyDestination:
    """Query the file or device to which a disk would be copied; symbolic links are followed."""
    folder_state = _query_folder_state(host, PurePosixPath(path).parent)
    result = host.shell.run_unchecked("stat", "-L", "-c", "%F", path)
    if result.status != 0:
        return CopyDestination(path, PathKind.ABSENT, folder_state)
    path_kind = _PATH_KINDS.get(result.stdout.strip(), PathKind.OTHER)
    if path_kind is not PathKind.FILE:
        return CopyDestination(path, path_kind, folder_state)
    in_use = probe_context.is_written_by_qemu(host, path)
    return CopyDestination(
        path, path_kind, folder_state, fact_or_missing(lambda: query_image_info(host, path)), in_use
    )


def _query_folder_state(host: Host, folder: PurePosixPath) -> FolderState:
    if host.shell.run_unchecked("test", "-d", folder).status != 0:
        return FolderState.MISSING
    writable = host.shell.run_unchecked("test", "-w", folder).status == 0
    return FolderState.WRITABLE if writable else FolderState.READ_ONLY


def has_same_contents(source: Host, destination: Host, path: str) -> bool:
    """Return whether both hosts have a file with the same SHA-256 checksum at `path`.

    Raises:
        HostError: A host cannot compute the checksum.
    """
    result = destination.shell.run_unchecked("test", "-f", path)
    if result.status != 0:
        return False
    checksums = {
        host.shell.run("sha256sum", path, seconds=HASH_SECONDS).stdout.split()[0]
        for host in (source, destination)
    }
    return len(checksums) == 1
