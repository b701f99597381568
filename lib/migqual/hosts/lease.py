"""One user at a time on a host, whichever process of this controller asks."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from migqual import places
from migqual.errors import HostError
from migqual.model.inventory import Inventory, Tier


@contextmanager
def leased(inventory: Inventory, names: Sequence[str], *, seconds: float) -> Iterator[None]:
    """Nobody else has these hosts while the block runs.

    Raises `HostError` when one is still in use after `seconds`.
    """
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(_lease(inventory, name, seconds))
        yield


def _lease(inventory: Inventory, host: str, seconds: float) -> FileLock:
    folder = places.state() / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    entry = inventory.hosts[host]
    scope = inventory.file.parent.name if inventory.file and inventory.tier is Tier.LAB else "real"
    lock = FileLock(folder / f"{scope}-{entry.address}-{entry.port}.lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise HostError(
            host, "in use by another run", remedy="wait for it to end, or stop it"
        ) from error
    return lock
