"""Lease hosts, so that only one process of the controller uses a host at a time."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from migqual import paths
from migqual.errors import HostError
from migqual.inventory.entities import Inventory, Tier


@contextmanager
def lease_hosts(
    inventory: Inventory, host_names: Sequence[str], *, seconds: float
) -> Iterator[None]:
    """Lease hosts during the block, so that no other run on the controller uses the hosts.

    Args:
        inventory: The inventory with the hosts.
        host_names: Names of the hosts.
        seconds: Longest wait for each host.

    Raises:
        HostError: Another process still uses a host after `seconds`.
    """
    with ExitStack() as stack:
        for host_name in sorted(set(host_names)):
            stack.enter_context(_lock_host(inventory, host_name, seconds))
        yield


def _lock_host(inventory: Inventory, host_name: str, seconds: float) -> FileLock:
    folder = paths.get_state_folder() / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    entry = inventory.hosts[host_name]
    scope = inventory.file.parent.name if inventory.file and inventory.tier is Tier.LAB else "real"
    lock = FileLock(folder / f"{scope}-{entry.address}-{entry.port}.lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise HostError(
            host_name,
            "another migqual run uses this host",
            remedy="wait until the other run ends, or stop the other run",
        ) from error
    return lock
