"""Decide from observations on both hosts whether a disk is shared or local. No side effects."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from migqual.hosts.domain_definition import Disk
from migqual.preflight.storage_facts import DiskLocation
from migqual.probes.fact import Fact, Missing

# an attribute cache of NFS or FUSE shows a new write time with a delay of some seconds
MAX_WRITE_TIME_DIFFERENCE_S = 5


@dataclass(frozen=True)
class FileView:
    """The folder, the sizes and the time of the last change of a disk file, as a host sees them.

    Attributes:
        real_folder: Folder of the file, with all symbolic links resolved.
        modified_s: Time of the last change in s, as in st_mtime of stat(2).
    """

    host: str
    real_folder: str
    exists: bool
    inode: int = 0
    size_bytes: int = 0
    modified_s: int = 0
    allocated_bytes: int = 0


@dataclass(frozen=True)
class BlockView:
    """The size, first block and device id of a block device or network disk, as a host sees them.

    Attributes:
        reported_size: Size as printed by `qemu-io`, for example ``64 MiB``.
        first_block: Lines of the hex dump of the first 4096 bytes.
        device_id: WWN and serial number of a block device. A network disk has an empty id.
        server_addresses: IP addresses to which the host resolves the server of a network disk.
    """

    host: str
    reported_size: str
    first_block: tuple[str, ...]
    device_id: str = ""
    server_addresses: frozenset[str] = frozenset()


def classify_file_location(
    source_view: FileView,
    destination_view: FileView,
    *,
    token_visible: bool | None,
    lock_visible: bool,
) -> tuple[DiskLocation, str]:
    """Classify the location of a disk file.

    Args:
        source_view: The file as seen by the source.
        destination_view: The file as seen by the destination.
        token_visible: Whether the destination sees the token, a temporary file that the source
            wrote beside the disk file. None means that the source wrote no token.
        lock_visible: Whether the destination sees QEMU's lock on the file.

    Returns:
        The location, and the evidence as a text for messages.
    """
    same_inode = destination_view.exists and source_view.inode == destination_view.inode
    token_text = f"a temporary file written on {source_view.host}"
    if same_inode and token_visible:
        return DiskLocation.SHARED, f"{token_text} is visible on {destination_view.host}"
    if same_inode and lock_visible:
        evidence = f"{destination_view.host} sees the same inode and QEMU's lock on the file"
        return DiskLocation.SHARED, evidence
    if not same_inode:
        return _classify_different_file(destination_view, is_folder_shared=bool(token_visible))
    if token_visible is None:
        return (
            DiskLocation.AMBIGUOUS,
            (
                "both hosts see a file with the same inode, but this is no proof, and read-only "
                "probes write no temporary file"
            ),
        )
    if _has_same_write_time(source_view, destination_view):
        return (
            DiskLocation.AMBIGUOUS,
            (
                f"{token_text} is not visible on {destination_view.host}, but inode, size and time "
                "of the last write are the same, as for one image with two paths"
            ),
        )
    return DiskLocation.LOCAL, f"{token_text} is not visible on {destination_view.host}"


def _has_same_write_time(source_view: FileView, destination_view: FileView) -> bool:
    """Return whether both hosts see the same file size and almost the same time of the last write.

    If the result is True, the two paths may lead to one file. The two other probes, token and
    lock, do not detect this in every case:

    - The token is a temporary file in the folder of the disk file. If one path is a bind mount of
      only the disk file, the hosts see different folders.
    - The lock is on the disk file. Some file systems do not share locks between hosts.

    The times of one file can differ by a few seconds. The guest may write between the two reads,
    and a network file system shows a new time with a delay.
    """
    difference_s = abs(source_view.modified_s - destination_view.modified_s)
    return (
        source_view.size_bytes == destination_view.size_bytes
        and difference_s <= MAX_WRITE_TIME_DIFFERENCE_S
    )


def _classify_different_file(
    destination_view: FileView, *, is_folder_shared: bool
) -> tuple[DiskLocation, str]:
    """Classify a disk whose path leads to another file, or to no file, at the destination."""
    host = destination_view.host
    if is_folder_shared:
        article = "a different" if destination_view.exists else "no"
        return (
            DiskLocation.AMBIGUOUS,
            f"both hosts share the folder, but {host} has {article} file of this name",
        )
    if destination_view.exists:
        return DiskLocation.LOCAL, f"{host} has a different file of this name"
    return DiskLocation.LOCAL, f"{host} has no such file"


def classify_block_location(
    disk: Disk, source_view: Fact[BlockView], destination_view: Fact[BlockView]
) -> tuple[DiskLocation, str]:
    """Classify the location of a block device or network disk.

    Returns:
        The location, and the evidence as a text for messages.
    """
    is_network_disk = disk.type == "network"
    if isinstance(source_view, Missing):
        location = DiskLocation.UNREACHABLE if is_network_disk else DiskLocation.AMBIGUOUS
        return location, source_view.reason
    if isinstance(destination_view, Missing):
        location = DiskLocation.UNREACHABLE if is_network_disk else DiskLocation.LOCAL
        return location, destination_view.reason
    if source_view.reported_size != destination_view.reported_size:
        return (
            DiskLocation.LOCAL,
            (
                f"the size is {source_view.reported_size} on {source_view.host}, "
                f"but {destination_view.reported_size} on {destination_view.host}"
            ),
        )
    if source_view.device_id != destination_view.device_id:
        return (
            DiskLocation.LOCAL,
            (
                f"the device ID is {source_view.device_id or 'empty'} on {source_view.host}, "
                f"but {destination_view.device_id or 'empty'} on {destination_view.host}"
            ),
        )
    if source_view.first_block != destination_view.first_block:
        return DiskLocation.LOCAL, "the first block of the disk is different on the two hosts"
    if not is_network_disk and not source_view.device_id:
        return (
            DiskLocation.AMBIGUOUS,
            "both hosts read the same size and first block, but find no WWN and no serial number",
        )
    if is_network_disk and (problem := _find_server_problem(source_view, destination_view)):
        return DiskLocation.AMBIGUOUS, problem
    device_text = f"device ID {source_view.device_id}, " if source_view.device_id else ""
    server_text = f" from the server {_format_addresses(source_view)}" if is_network_disk else ""
    return (
        DiskLocation.REMOTE,
        (
            f"both hosts read the same {device_text}size {source_view.reported_size} and first "
            f"block{server_text}"
        ),
    )


def _find_server_problem(source_view: BlockView, destination_view: BlockView) -> str:
    """Return why the two hosts may reach different servers, or "" if they reach the same one.

    Equal contents are no proof: two blank disks are equal, and so are two copies of a template.
    """
    for view in (source_view, destination_view):
        if not view.server_addresses:
            return f"{view.host} resolves the server of the disk to no IP address"
        for address in sorted(view.server_addresses):
            if ip_address(address).is_loopback:
                return (
                    f"{view.host} resolves the server of the disk to {address}, so each host may "
                    "reach a server of its own"
                )
    if _are_same_servers(source_view.server_addresses, destination_view.server_addresses):
        return ""
    return (
        f"{source_view.host} resolves the server of the disk to {_format_addresses(source_view)}, "
        f"but {destination_view.host} to {_format_addresses(destination_view)}"
    )


def _are_same_servers(source: Iterable[str], destination: Iterable[str]) -> bool:
    """Return whether the two hosts resolved one name to the same IP addresses.

    IPv4 and IPv6 addresses are compared separately. If one host has no addresses of a version, for
    example no IPv6 addresses, the function ignores this version. If no version remains, the result
    is False.
    """
    pairs = [
        [
            {address for address in addresses if ip_address(address).version == version}
            for addresses in (source, destination)
        ]
        for version in (4, 6)
    ]
    common_pairs = [pair for pair in pairs if all(pair)]
    return bool(common_pairs) and all(pair[0] == pair[1] for pair in common_pairs)


def _format_addresses(view: BlockView) -> str:
    return ", ".join(sorted(view.server_addresses))
