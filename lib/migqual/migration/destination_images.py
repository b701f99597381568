"""Create at the destination the images for the disks that a migration copies.

An image at the destination has the same folder, format, virtual size and qcow2 options as the
image at the source. Existing files are never overwritten. After a failed migration, only images
that the module created are removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lxml import etree

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, JournalEntry
from migqual.hosts.storage_pool import StoragePool, list_file_pools
from migqual.model.plan import DestinationImages, StorageCopy
from migqual.preflight.storage_facts import DiskFact, StorageFacts
from migqual.probes.disk_images import CopyDestination, ImageInfo

_LIST_EXISTING_SCRIPT = """\
for path do
    if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi
done
"""
_MAX_SSH_SESSIONS = 8  # an SSH server permits ten sessions per connection by default
# the only qcow2 options in libvirt's storage API
_POOL_OPTIONS = {"compat", "cluster_size", "lazy_refcounts"}


@dataclass(frozen=True)
class ImageSpec:
    """The properties of an image to create at the destination.

    Attributes:
        path: Path of the image at the destination.
        size_bytes: Virtual size in bytes.
        options: Values for `qemu-img create -o`, by option name.
        backing_file: Path of the backing file; empty without a backing file.
    """

    path: PurePosixPath
    format: str
    size_bytes: int
    options: Mapping[str, str] = field(default_factory=dict)
    backing_file: str = ""
    backing_format: str = ""

    def build_create_command(self, path: PurePosixPath) -> tuple[str, ...]:
        """Build the `qemu-img create` command for the image, but with `path` as the file name."""
        argv = ["qemu-img", "create", "-q", "-f", self.format]
        for name, value in self.options.items():
            argv += ["-o", f"{name}={value}"]
        if self.backing_file:
            argv += ["-b", self.backing_file, "-F", self.backing_format or "raw"]
        return (*argv, str(path), str(self.size_bytes))

    def render_volume_xml(self) -> str:
        """Render the volume XML of the image for virStorageVolCreateXML."""
        volume = etree.Element("volume")
        etree.SubElement(volume, "name").text = self.path.name
        etree.SubElement(volume, "capacity", unit="bytes").text = str(self.size_bytes)
        etree.SubElement(volume, "allocation", unit="bytes").text = "0"
        target = etree.SubElement(volume, "target")
        etree.SubElement(target, "format", type=self.format)
        if "compat" in self.options:
            etree.SubElement(target, "compat").text = self.options["compat"]
        if "cluster_size" in self.options:
            cluster_element = etree.SubElement(target, "clusterSize", unit="B")
            cluster_element.text = self.options["cluster_size"]
        if "lazy_refcounts" in self.options:
            etree.SubElement(etree.SubElement(target, "features"), "lazy_refcounts")
        return etree.tostring(volume, encoding=str)

    @property
    def can_use_pool(self) -> bool:
        """Return whether libvirt's storage API supports all properties of the image."""
        return not self.backing_file and set(self.options) <= _POOL_OPTIONS


def plan_images(storage: StorageFacts) -> tuple[ImageSpec, ...]:
    """List the images to create at the destination before the migration.

    The function has no side effects. The list is empty when the plan states that the images
    already exist.
    """
    if storage.plan.destination_images is DestinationImages.EXISTING:
        return ()
    return tuple(
        _build_image_spec(fact, fact.image, fact.copy_destination, storage.plan.copy_storage)
        for fact in storage.copied_disks
        if isinstance(fact.image, ImageInfo) and isinstance(fact.copy_destination, CopyDestination)
    )


def _build_image_spec(
    fact: DiskFact, image: ImageInfo, target: CopyDestination, copy_mode: StorageCopy
) -> ImageSpec:
    is_shallow = copy_mode is StorageCopy.INCREMENTAL and bool(image.backing_file)
    return ImageSpec(
        path=PurePosixPath(target.path),
        format=fact.disk.format,
        size_bytes=image.virtual_size,
        options=image.create_options,
        backing_file=image.backing_file if is_shallow else "",
        backing_format=image.backing_format if is_shallow else "",
    )


def create_images(host: Host, specs: Sequence[ImageSpec], journal: Journal) -> list[JournalEntry]:
    """Create images on the destination in parallel. After an error, no new image remains.

    The journal records each image before the creation.

    Args:
        host: The destination.
        specs: The images to create.
        journal: The journal of the run.

    Returns:
        The journal entries of the images, in the order of `specs`.

    Raises:
        HostError: An image could not be created. The first error is raised, and all created
            images are removed.
    """
    if not specs:
        return []
    _refuse_existing_files(host, specs)
    host_pools = list_file_pools(host.libvirt)
    entries = [
        journal.record(host.name, "image", str(spec.path), _build_undo_commands(spec, host_pools))
        for spec in specs
    ]
    with ThreadPoolExecutor(_MAX_SSH_SESSIONS) as executor:
        errors = list(executor.map(lambda spec: _try_create_image(host, spec, host_pools), specs))
    failures = [error for error in errors if error is not None]
    if failures:
        created_entries = [
            entry for entry, error in zip(entries, errors, strict=True) if error is None
        ]
        remove_images(host, created_entries, journal)
        for entry, error in zip(entries, errors, strict=True):
            if error is not None:
                journal.record_removal(entry)
        raise failures[0]
    return entries


def _refuse_existing_files(host: Host, specs: Sequence[ImageSpec]) -> None:
    """Raise an error if the file of an image exists already.

    Call the function before the journal of the run gets entries for the images. After a crash,
    `migqual sweep` removes the file of each open entry, even if the file existed before the run.

    Raises:
        HostError: A file exists.
    """
    existing_paths = host.shell.run(
        "sh", "-c", _LIST_EXISTING_SCRIPT, "sh", *(spec.path for spec in specs)
    )
    if paths := existing_paths.stdout.splitlines():
        raise HostError(
            host.name,
            f"no disk image is created, because these files already exist: {', '.join(paths)}",
            remedy=f"on {host.name}, move the files to another folder",
        )


def remove_images(host: Host, entries: Iterable[JournalEntry], journal: Journal) -> None:
    """Remove images that `create_images` created, and record this in the journal of the run."""
    for entry in entries:
        for argv in entry.undo:
            host.shell.run_unchecked(*argv)
        journal.record_removal(entry)


def _build_undo_commands(
    spec: ImageSpec, host_pools: Sequence[StoragePool]
) -> list[tuple[str, ...]]:
    undo_commands: list[tuple[str, ...]] = [
        ("rm", "-f", "--", str(spec.path), str(_build_temporary_path(spec)))
    ]
    if (pool := _find_pool(spec, host_pools)) is not None:
        undo_commands.insert(0, ("virsh", "-q", "vol-delete", "--pool", pool.name, spec.path.name))
    return undo_commands


def _find_pool(spec: ImageSpec, host_pools: Sequence[StoragePool]) -> StoragePool | None:
    """Find the storage pool for the folder of the image; None if no pool can create the image."""
    if not spec.can_use_pool:
        return None
    return next((pool for pool in host_pools if pool.folder == spec.path.parent), None)


def _try_create_image(
    host: Host, spec: ImageSpec, host_pools: Sequence[StoragePool]
) -> HostError | None:
    try:
        pool = _find_pool(spec, host_pools)
        if pool is not None:
            pool.create_volume(spec.render_volume_xml())
        else:
            _create_with_qemu_img(host, spec)
    except HostError as error:
        return error
    return None


def _create_with_qemu_img(host: Host, spec: ImageSpec) -> None:
    """Create the image with `qemu-img` as a temporary file, then link the file to the final name.

    The link fails when the final name exists, so no existing file is overwritten.
    """
    temporary_path = _build_temporary_path(spec)
    try:
        host.shell.run(*spec.build_create_command(temporary_path))
        host.shell.run("ln", "--", temporary_path, spec.path)
    finally:
        host.shell.run_unchecked("rm", "-f", "--", temporary_path)


def _build_temporary_path(spec: ImageSpec) -> PurePosixPath:
    return spec.path.with_name(f"{spec.path.name}.mq-new")
