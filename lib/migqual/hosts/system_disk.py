"""Copy the system image and the cloud-init seed of a guest to the shared directory."""

from pathlib import Path, PurePosixPath

from migqual import paths
from migqual.errors import UsageError
from migqual.hosts.domain_template import GAP_METER_PORT
from migqual.hosts.guest import Guest
from migqual.hosts.journal import Journal
from migqual.hosts.volume import Volume
from migqual.image.cloud_init_seed import ensure_seed_volume
from migqual.inventory.entities import Inventory
from migqual.inventory.stores import DirectoryStore, StoreKind


def create_system_disk(
    guest: Guest,
    networks: tuple[tuple[str, str], ...],
    payload: Path,
    inventory: Inventory,
    journal: Journal,
) -> tuple[Volume | None, PurePosixPath | None]:
    """Create the system disk and the seed of a guest with a system image.

    The files are in the shared directory, because the source and the destination need access.

    Args:
        guest: The guest. A guest without a system image gets no files.
        networks: MAC address and ``ADDRESS/PREFIX`` (or empty text) of each NIC.
        payload: Path of the payload program, which the seed contains.
        inventory: The inventory with the stores.
        journal: Records the files before their creation.

    Returns:
        The volume of the system disk and the path of the seed; both None without an image.

    Raises:
        UsageError: The inventory has no store of the kind directory.
    """
    image = guest.spec.image
    if image is None:
        return None, None
    store = inventory.find_store(StoreKind.DIRECTORY)
    if not isinstance(store, DirectoryStore):
        raise UsageError(
            "a guest with a system image needs a store of the kind directory",
            remedy="add a store of `kind: directory` to migqual_stores in the inventory",
        )
    seed_file = ensure_seed_volume(
        guest.name, networks, payload, cache=paths.get_cache_folder(), port=GAP_METER_PORT
    )
    volume_paths = [store.path / f"{guest.name}-{kind}" for kind in ("root.qcow2", "seed.iso")]
    for path, source in zip(volume_paths, (image, seed_file), strict=True):
        undo_commands = [("rm", "-f", "--", str(path))]
        guest.journal_entries.append(
            journal.record(guest.host.name, "image", str(path), undo_commands)
        )
        guest.host.shell.upload_file(source, path)
    return Volume("file", volume_paths[0], guest.host.name), volume_paths[1]
