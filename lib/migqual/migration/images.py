"""Storage preparation: the destination's images of the disks that a plan copies.

The documented procedure, done for the user: same folder, format and virtual size, and the options
of qcow2 that matter. What is made here, and nothing else, is removed when the migration fails.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lxml import etree

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, Made
from migqual.hosts.pool import Pool, pools
from migqual.model.plan import Images, StorageCopy
from migqual.preflight.facts import DiskFact, Image, Storage, Target

_WORKERS = 8  # of the ten sessions that an SSH server gives a connection
# libvirt's storage API knows no others
_KNOWN_TO_POOLS = {"compat", "cluster_size", "lazy_refcounts"}


@dataclass(frozen=True)
class Recipe:
    """An image to make. Size in bytes; `options` as `qemu-img create -o` takes them."""

    path: PurePosixPath
    format: str
    size: int
    options: Mapping[str, str] = field(default_factory=dict)
    backing: str = ""
    backing_format: str = ""

    def argv(self, path: PurePosixPath) -> tuple[str, ...]:
        """The command that makes it at `path`."""
        words = ["qemu-img", "create", "-q", "-f", self.format]
        for name, value in self.options.items():
            words += ["-o", f"{name}={value}"]
        if self.backing:
            words += ["-b", self.backing, "-F", self.backing_format or "raw"]
        return (*words, str(path), str(self.size))

    def volume_xml(self) -> str:
        """The same for virStorageVolCreateXML."""
        volume = etree.Element("volume")
        etree.SubElement(volume, "name").text = self.path.name
        etree.SubElement(volume, "capacity", unit="bytes").text = str(self.size)
        etree.SubElement(volume, "allocation", unit="bytes").text = "0"
        target = etree.SubElement(volume, "target")
        etree.SubElement(target, "format", type=self.format)
        if "compat" in self.options:
            etree.SubElement(target, "compat").text = self.options["compat"]
        if "cluster_size" in self.options:
            size = etree.SubElement(target, "clusterSize", unit="B")
            size.text = self.options["cluster_size"]
        if "lazy_refcounts" in self.options:
            etree.SubElement(etree.SubElement(target, "features"), "lazy_refcounts")
        return etree.tostring(volume, encoding=str)

    @property
    def fits_a_pool(self) -> bool:
        """Whether libvirt's storage API can say all of it."""
        return not self.backing and set(self.options) <= _KNOWN_TO_POOLS


def recipes(storage: Storage) -> tuple[Recipe, ...]:
    """Pure: what has to be made at the destination before the migration."""
    if storage.plan.images is Images.PRESENT:
        return ()
    return tuple(
        _recipe(fact, fact.image, fact.target, storage.plan.copy_storage)
        for fact in storage.copied
        if isinstance(fact.image, Image) and isinstance(fact.target, Target)
    )


def _recipe(fact: DiskFact, image: Image, target: Target, copy: StorageCopy) -> Recipe:
    shallow = copy is StorageCopy.INCREMENTAL and bool(image.backing)
    return Recipe(
        path=PurePosixPath(target.path),
        format=fact.disk.format,
        size=image.virtual_size,
        options=image.options,
        backing=image.backing if shallow else "",
        backing_format=image.backing_format if shallow else "",
    )


def make(host: Host, wanted: Sequence[Recipe], journal: Journal) -> list[Made]:
    """Make the images side by side; each is in the journal before. All or none.

    Raises `HostError` with the words of the first that could not be made.
    """
    if not wanted:
        return []
    known = pools(host.libvirt)
    made = [
        journal.record(host.name, "image", str(recipe.path), _undo(recipe, known))
        for recipe in wanted
    ]
    with ThreadPoolExecutor(_WORKERS) as pool:
        done = list(pool.map(lambda recipe: _attempt(host, recipe, known), wanted))
    troubles = [error for error in done if error is not None]
    if troubles:
        ours = [it for it, error in zip(made, done, strict=True) if error is None]
        remove(host, ours, journal)
        for entry, error in zip(made, done, strict=True):
            if error is not None:
                journal.removed(entry)
        raise troubles[0]
    return made


def remove(host: Host, made: Iterable[Made], journal: Journal) -> None:
    """Take away what `make` made."""
    for entry in made:
        for argv in entry.undo:
            host.shell.attempt(*argv)
        journal.removed(entry)


def _undo(recipe: Recipe, known: Sequence[Pool]) -> list[tuple[str, ...]]:
    undo: list[tuple[str, ...]] = [("rm", "-f", "--", str(recipe.path), str(_unfinished(recipe)))]
    if (pool := _pool(recipe, known)) is not None:
        undo.insert(0, ("virsh", "-q", "vol-delete", "--pool", pool.name, recipe.path.name))
    return undo


def _pool(recipe: Recipe, known: Sequence[Pool]) -> Pool | None:
    """The storage pool of libvirt that covers the folder, where it can make such an image."""
    if not recipe.fits_a_pool:
        return None
    return next((pool for pool in known if pool.folder == recipe.path.parent), None)


def _attempt(host: Host, recipe: Recipe, known: Sequence[Pool]) -> HostError | None:
    try:
        pool = _pool(recipe, known)
        if pool is not None:
            pool.create(recipe.volume_xml())
        else:
            _create(host, recipe)
    except HostError as error:
        return error
    return None


def _create(host: Host, recipe: Recipe) -> None:
    """By `qemu-img`, under another name first: a file that is there is never overwritten."""
    first = _unfinished(recipe)
    try:
        host.shell.run(*recipe.argv(first))
        host.shell.run("ln", "--", first, recipe.path)
    finally:
        host.shell.attempt("rm", "-f", "--", first)


def _unfinished(recipe: Recipe) -> PurePosixPath:
    return recipe.path.with_name(f"{recipe.path.name}.mq-new")
