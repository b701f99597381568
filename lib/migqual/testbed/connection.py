"""Connect to the hosts of an inventory, and provide a testbed outside pytest."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from secrets import token_hex

from migqual import paths
from migqual.errors import UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.provision import Provisioner
from migqual.image.guest_image import ensure_guest_image
from migqual.inventory.entities import Inventory, PairEntry, Tier
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed


@contextmanager
def connect_testbed(inventory: Inventory, pair: PairEntry | None = None) -> Iterator[Testbed]:
    """Connect to all hosts, and yield a testbed with a pair of the inventory.

    After the block, all guests and files of the testbed are removed from the hosts.

    Args:
        inventory: The inventory, with a client.
        pair: The pair of the testbed. None means the first pair.

    Raises:
        UsageError: The inventory names no client.
    """
    if inventory.client is None:
        raise UsageError(
            "the inventory names no client",
            remedy="set migqual_client in all.vars of the inventory",
        )
    pair = pair or inventory.pairs[0]
    with ExitStack() as stack:
        hosts = {name: stack.enter_context(Host(entry)) for name, entry in inventory.hosts.items()}
        run_id = token_hex(3)
        provisioner = Provisioner(
            run_id,
            inventory,
            hosts,
            Journal(f"{run_id}-testbed", inventory),
            ensure_guest_image(
                paths.get_cache_folder(),
                inventory.guest_architecture,
                report_progress=lambda _line: None,
            ),
            lane_number=inventory.lanes.index(pair),
            lane_count=len(inventory.lanes),
        )
        stack.callback(provisioner.close)
        testbed = Testbed(
            HostPair(
                hosts[pair.source.name],
                hosts[pair.destination.name],
                has_common_clock=inventory.tier is Tier.LAB,
            ),
            hosts[inventory.client.name],
            provisioner,
        )
        stack.callback(testbed.close)
        yield testbed
