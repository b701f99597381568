"""Find out with probes on both hosts whether a disk is shared, remote or local.

A path or the name of a file system is no evidence. For a disk file, the source locks a byte of the
image, and the destination queries the lock. A visible lock proves that both hosts open the same
file. Further evidence is a token (a temporary file in the folder of the image), the inode of the
image, and the lock of a running QEMU. For a block device or network disk, both hosts open the disk
and read size, first block and device id.
"""

import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from migqual.errors import HostError
from migqual.hosts.domain_definition import Disk
from migqual.hosts.host import Host
from migqual.preflight.disk_location import (
    BlockView,
    FileView,
    classify_block_location,
    classify_file_location,
)
from migqual.preflight.storage_facts import CopySpace, DiskFact, DiskLocation, FileSystem
from migqual.probes import disk_images
from migqual.probes.disk_images import CopyDestination, ImageInfo
from migqual.probes.fact import Fact, Missing, fact_or_missing
from migqual.probes.probe_context import ProbeContext, ProbeMode, generate_token_name

_QEMU_IO_OPTIONS = ("-r", "-U", "-f", "raw", "-c", "length", "-c", "read -v 0 4096")
_READ_ATTEMPTS = 3
_FUSE_MAGIC = 0x65735546  # statfs(2) reports this number for every file system in user space


@dataclass(frozen=True)
class DiskProber:
    """A prober that examines the disks of a guest from both hosts.

    Attributes:
        pool: Executor for probes that run at the same time on both hosts.
        destination_disks: Disks in the plan's domain XML for the destination, by target. The
            mapping is empty if the plan has no such XML.
    """

    source: Host
    destination: Host
    probe_context: ProbeContext
    pool: Executor
    destination_disks: Mapping[str, Disk] = field(default_factory=dict)

    def probe_disk(self, disk: Disk) -> DiskFact:
        """Probe a disk on both hosts, and return the facts with the location.

        If a probe fails, the function raises no error. The location then depends on the disk:

        - Network disk: `unreachable`.
        - Block device: `local` if only the destination cannot open the device. `ambiguous` if the
          source cannot open the device.
        - Disk file: `ambiguous`.
        """
        if disk.type != "file":
            return self._collect_disk_fact(disk)
        filesystem_probe = self.pool.submit(
            fact_or_missing, lambda: query_filesystem(self.source, disk.source)
        )
        fact = self._collect_disk_fact(disk)
        return replace(fact, filesystem=filesystem_probe.result())

    def _collect_disk_fact(self, disk: Disk) -> DiskFact:
        if disk.needs_secret:
            return DiskFact(
                disk, DiskLocation.AMBIGUOUS, "only libvirt has the credentials of the disk"
            )
        if not disk.source:
            return DiskFact(
                disk, DiskLocation.AMBIGUOUS, f"preflight does not probe disks of type {disk.type}"
            )
        destination_disk = self.destination_disks.get(disk.target, disk)
        try:
            location, evidence = self._locate_disk(disk, destination_disk)
        except HostError as error:
            return DiskFact(disk, DiskLocation.AMBIGUOUS, error.message)
        if location.is_common:
            return DiskFact(disk, location, evidence)
        if disk.type != "file":
            missing_space = Missing(f"free space is not measured for disks of type {disk.type}")
            return DiskFact(
                disk,
                location,
                evidence,
                missing_space,
                copy_destination=self._probe_copy_destination(destination_disk),
            )
        image = fact_or_missing(
            lambda: disk_images.query_image_info(self.source, disk.source, disk.format)
        )
        copy_destination = self._probe_copy_destination(destination_disk)
        return DiskFact(
            disk,
            location,
            evidence,
            self._measure_copy_space(image, copy_destination),
            image=image,
            copy_destination=copy_destination,
            backing_file_equal=self._compare_backing_files(image),
        )

    def _locate_disk(self, disk: Disk, destination_disk: Disk) -> tuple[DiskLocation, str]:
        if disk.type == "file" and destination_disk.type == "file":
            return self._locate_file(
                PurePosixPath(disk.source), PurePosixPath(destination_disk.source)
            )
        return self._locate_block_device(disk, destination_disk)

    def _probe_copy_destination(self, destination_disk: Disk) -> Fact[CopyDestination]:
        if destination_disk.type == "network":
            return Missing(f"{destination_disk.source} is not a file path")
        return fact_or_missing(
            lambda: disk_images.probe_copy_destination(
                self.destination, destination_disk.source, self.probe_context
            )
        )

    def _compare_backing_files(self, image: Fact[ImageInfo]) -> Fact[bool] | None:
        if isinstance(image, Missing) or not image.backing_file:
            return None
        return fact_or_missing(
            lambda: disk_images.has_same_contents(self.source, self.destination, image.backing_file)
        )

    def _locate_file(
        self, source_path: PurePosixPath, destination_path: PurePosixPath
    ) -> tuple[DiskLocation, str]:
        destination_probe = self.pool.submit(_read_file_view, self.destination, destination_path)
        source_view = _read_file_view(self.source, source_path)
        destination_view = destination_probe.result()
        if not source_view.exists:
            return DiskLocation.AMBIGUOUS, f"{self.source.name} has no file {source_path}"
        if destination_view.exists and self._is_lock_visible(source_path, destination_path):
            evidence = f"a lock taken on {self.source.name} is visible on {self.destination.name}"
            return DiskLocation.SHARED, f"{evidence} at {destination_path}"
        token_visible = self._is_token_visible(source_view, destination_view)
        lock_visible = destination_view.exists and self.probe_context.is_written_by_qemu(
            self.destination, destination_path
        )
        return classify_file_location(
            source_view, destination_view, token_visible=token_visible, lock_visible=lock_visible
        )

    def _is_lock_visible(self, source_path: PurePosixPath, destination_path: PurePosixPath) -> bool:
        """Return whether the destination sees a lock that the source holds on the file.

        A visible lock proves that both paths lead to the same file. The result is False if the
        file system has no locks. The result is also False if the probe mode is `READ_ONLY`,
        because then the source must not lock the image.
        """
        if self.probe_context.mode is ProbeMode.READ_ONLY:
            return False
        offset = secrets.randbelow(2**60) + 2**60
        lock_command = (
            self.probe_context.get_payload_path(self.source),
            "lock",
            "hold",
            str(source_path),
            str(offset),
        )
        with self.source.shell.start(*lock_command) as lock_process:
            first_line = lock_process.read_first_line()
            if first_line != "held":
                return False  # a file system without locks; the other probes decide
            return self.probe_context.is_locked(self.destination, destination_path, offset)

    def _is_token_visible(self, source_view: FileView, destination_view: FileView) -> bool | None:
        """Return whether the destination sees a temporary file (token) that the source wrote.

        In the probe mode `READ_ONLY` the source writes no token. Then the result is None.
        """
        if self.probe_context.mode is ProbeMode.READ_ONLY:
            return None
        token = generate_token_name()
        with self._temporary_token(PurePosixPath(source_view.real_folder) / token):
            result = self.destination.shell.run_unchecked(
                "cat", PurePosixPath(destination_view.real_folder) / token
            )
            return result.status == 0 and result.stdout == token

    @contextmanager
    def _temporary_token(self, path: PurePosixPath) -> Iterator[None]:
        entry = self.probe_context.record_probe_file(self.source, path)
        try:
            self.source.shell.run("tee", path, stdin=path.name.encode())
            yield
        finally:
            self.source.shell.run("rm", "-f", "--", path)
            self.probe_context.record_removal(entry)

    def _locate_block_device(self, disk: Disk, destination_disk: Disk) -> tuple[DiskLocation, str]:
        for _ in range(_READ_ATTEMPTS):  # the guest may write between the reads on the two hosts
            destination_probe = self.pool.submit(
                fact_or_missing, lambda: _read_block_view(self.destination, destination_disk)
            )
            source_view = fact_or_missing(lambda: _read_block_view(self.source, disk))
            destination_view = destination_probe.result()
            location, evidence = classify_block_location(
                destination_disk, source_view, destination_view
            )
            if location.is_common:
                break
        return location, evidence

    def _measure_copy_space(
        self, image: Fact[ImageInfo], copy_destination: Fact[CopyDestination]
    ) -> Fact[CopySpace]:
        """Measure the needed and the free space for the copy of a disk at the destination.

        If an image exists at the destination path, the copy needs less space, because the copy
        reuses the space of this image.
        """
        if isinstance(image, Missing):
            return image
        if isinstance(copy_destination, Missing):
            return copy_destination
        existing_bytes = (
            copy_destination.image.allocated_size
            if isinstance(copy_destination.image, ImageInfo)
            else 0
        )
        needed_bytes = max(0, image.virtual_size - existing_bytes)

        def measure_free_space() -> CopySpace:
            free_bytes, mount_point = _query_free_space(
                self.destination, PurePosixPath(copy_destination.path)
            )
            # round the needed space up and the free space down
            return CopySpace(-(-needed_bytes // 2**20), free_bytes // 2**20, mount_point)

        return fact_or_missing(measure_free_space)


def query_filesystem(host: Host, path: str) -> FileSystem:
    """Query the type of the file system of a file. Symbolic links are followed."""
    output = host.shell.run("stat", "-L", "-f", "-c", "%t %T", "--", path).stdout
    magic, _, name = output.strip().partition(" ")
    if int(magic, 16) == _FUSE_MAGIC:
        real_path = host.shell.run("readlink", "-f", "--", path).stdout.strip()
        name = host.shell.run("findmnt", "-no", "FSTYPE", "-T", real_path).stdout.strip()
    return FileSystem(int(magic, 16), name)


def _read_file_view(host: Host, path: PurePosixPath) -> FileView:
    """Read folder, inode, sizes and time of the last change of the file on the host.

    Symbolic links are followed. If the file does not exist, only the folder is known.
    """
    real_path = host.shell.run_unchecked("readlink", "-f", path).stdout.strip() or str(path)
    result = host.shell.run_unchecked("stat", "-c", "%i %s %Y %b %B", real_path)
    folder = str(PurePosixPath(real_path).parent)
    if result.status != 0:
        return FileView(host.name, folder, exists=False)
    inode, size_bytes, modified_s, blocks, block_bytes = (
        int(number) for number in result.stdout.split()
    )
    return FileView(host.name, folder, True, inode, size_bytes, modified_s, blocks * block_bytes)  # noqa: FBT003


def _query_free_space(host: Host, path: PurePosixPath) -> tuple[int, str]:
    """Query free bytes and mount point of the file system that would hold a new file.

    If the folder does not exist, the function queries the nearest parent folder that exists.
    """
    for folder in path.parents:
        result = host.shell.run_unchecked("df", "-P", "-B1", folder)
        if result.status == 0:
            columns = result.stdout.splitlines()[-1].split()
            return int(columns[3]), columns[5]
    raise HostError(host.name, f"df reports no file system for {path}")


def _read_block_view(host: Host, disk: Disk) -> BlockView:
    """Open the disk on the host, and read size, first block, device id and server addresses.

    Raises:
        HostError: The host cannot open the disk.
    """
    result = host.shell.run_unchecked("qemu-io", *_QEMU_IO_OPTIONS, disk.source, seconds=15)
    lines = result.stdout.splitlines()
    if result.status != 0 or not lines or "read failed" in result.stdout:
        message = " ".join((result.stderr or result.stdout).split())
        raise HostError(host.name, f"cannot open {disk.source}: {message}")
    first_block = tuple(line for line in lines[1:] if ":  " in line[:12])
    if disk.type == "network":
        addresses = _resolve_server(host, disk.source)
        return BlockView(
            host.name, lines[0].strip(), first_block, server_addresses=frozenset(addresses)
        )
    device_id = ""
    if disk.type == "block":
        device_id = host.shell.run_unchecked(
            "lsblk", "-dno", "WWN,SERIAL", disk.source
        ).stdout.strip()
    return BlockView(host.name, lines[0].strip(), first_block, device_id)


def _resolve_server(host: Host, disk_uri: str) -> set[str]:
    """Return the IP addresses to which the host resolves the server in the URI of a disk."""
    server = urlsplit(disk_uri).hostname or ""
    result = host.shell.run_unchecked("getent", "ahosts", server)
    return {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
