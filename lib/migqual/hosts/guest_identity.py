"""Choose IP and MAC addresses for guests, unique among all workers of a run."""

import uuid

from migqual.errors import UsageError
from migqual.inventory.entities import Inventory

GUEST_PREFIX = "mq-"  # the name of each guest begins with this prefix
MAC_PREFIX = "0a:6d:71:"  # locally administered; MACs chosen by libvirt begin with 52:54:00


def choose_guest_address(
    inventory: Inventory, guest_number: int, lane_number: int, lane_count: int
) -> tuple[str, int]:
    """Choose an IP address on the service network for a guest.

    A lane is a pair of hosts on which one worker runs tests. Guests of different lanes get
    different addresses.

    Args:
        inventory: The inventory with the service network.
        guest_number: Number of the guest in the lane, from 0.
        lane_number: Number of the lane, from 0.
        lane_count: Number of lanes. Each lane has an equal share of the addresses.

    Returns:
        The address and the prefix length.

    Raises:
        UsageError: The inventory has no service network.
    """
    network = inventory.service_network
    if network is None:
        raise UsageError(
            "the inventory has no migqual_service_network",
            remedy="set migqual_service_network to a range of addresses for the guests",
        )
    addresses = list_lane_addresses(inventory, lane_number, lane_count)
    return addresses[guest_number % len(addresses)], network.prefix


def list_lane_addresses(inventory: Inventory, lane_number: int, lane_count: int) -> tuple[str, ...]:
    """List the IP addresses on the service network for the guests of a lane.

    A lane is a pair of hosts on which one worker runs tests. If the inventory has no service
    network, the list is empty.
    """
    network = inventory.service_network
    if network is None:
        return ()
    return tuple(str(address) for address in network.addresses[lane_number::lane_count])


def build_guest_name(run_id: str, lane_number: int, guest_number: int) -> str:
    """Build the name of a guest, e.g. ``mq-1ae8f4-0-12``."""
    return f"{GUEST_PREFIX}{run_id}-{lane_number}-{guest_number}"


def derive_mac(guest_name: str, nic_index: int) -> str:
    """Derive the MAC address of a NIC from the guest name and the index of the NIC."""
    digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{guest_name}/{nic_index}").bytes
    return MAC_PREFIX + ":".join(f"{byte:02x}" for byte in digest[:3])
