"""What a dead run left on hosts is removed, as its journal says and no more."""

from collections.abc import Callable, Collection
from contextlib import ExitStack

from migqual.errors import ConnectionLost, HostError, UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import Made, Remains
from migqual.hosts.volume import undo
from migqual.model.inventory import Inventory
from migqual.model.inventory_file import load_inventory

Say = Callable[[str], None]


def describe(made: Made) -> str:
    return f"{made.kind} {made.name} on {made.host}"


def sweep(remains: Remains, say: Say, hosts: Collection[str] = ()) -> bool:
    """Remove what the journal still names, newest first; on `hosts` alone if any are given. Returns
    whether nothing of it is left there.

    What cannot be removed stays in the journal, for the next time; each is told to `say`. Raises
    `UsageError` where the inventory cannot be read: then no host is touched.
    """
    named = [made for made in remains.outstanding if not hosts or made.host in hosts]
    inventory = load_inventory(remains.inventory) if named else None
    with ExitStack() as stack:
        reached = _Reached(inventory, stack)
        kept = [made for made in named if not _remove(made, remains, reached, say)]
    if not kept and len(named) == len(remains.outstanding):
        remains.drop()
    return not kept


class _Reached:
    """Hosts by name, opened when first asked for; one that is lost is not tried again."""

    def __init__(self, inventory: Inventory | None, stack: ExitStack) -> None:
        self._inventory = inventory
        self._stack = stack
        self._hosts: dict[str, Host] = {}
        self._lost: dict[str, ConnectionLost] = {}

    def host(self, name: str) -> Host:
        """Raises `UsageError` for one that the inventory no longer has, or `ConnectionLost`."""
        if name in self._lost:
            raise self._lost[name]
        if name not in self._hosts:
            if self._inventory is None:
                raise UsageError(f"no inventory names {name}")
            self._hosts[name] = self._stack.enter_context(Host(self._inventory.host(name)))
        return self._hosts[name]

    def lose(self, name: str, error: ConnectionLost) -> None:
        self._lost[name] = error


def _remove(made: Made, remains: Remains, reached: _Reached, say: Say) -> bool:
    try:
        undo(reached.host(made.host), made)
    except (HostError, UsageError) as error:
        if isinstance(error, ConnectionLost):
            reached.lose(made.host, error)
        say(f"kept {describe(made)}: {error}")
        return False
    remains.removed(made)
    say(f"removed {describe(made)}")
    return True
