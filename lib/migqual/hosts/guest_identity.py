"""Choose IP and MAC addresses for guests, unique among all workers of a run."""

import uuid

from migqual.errors import UsageError
from migqual.inventory.entities import Inventory

QEMU_MAC_PREFIX = "52:54:00:"


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
    lane_addresses = network.addresses[lane_number::lane_count]
    return str(lane_addresses[guest_number % len(lane_addresses)]), network.prefix


def derive_mac(guest_name: str, nic_index: int) -> str:
    """Derive the MAC address of a NIC from the guest name and the index of the NIC."""
    digest = uuid.uuid5(uuid.NAMESPACE_OID, f"{guest_name}/{nic_index}").bytes
    return QEMU_MAC_PREFIX + ":".join(f"{byte:02x}" for byte in digest[:3])
