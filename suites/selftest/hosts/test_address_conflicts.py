"""Machines that already use an address or a MAC of the guests are found by their real replies."""

import re

import pytest

from migqual.errors import HostError
from migqual.hosts.address_conflicts import (
    check_free_addresses,
    describe_used_addresses,
    find_used_addresses,
    find_used_macs,
    parse_used_addresses,
)
from migqual.hosts.guest_identity import derive_mac
from suites.selftest.support.namespace_host import open_namespace_host
from suites.selftest.support.network_namespace import (
    GUEST_ADDRESSES,
    GUEST_MAC,
    create_linked_namespaces,
)

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize(
    ("addresses", "used_address"),
    [
        (("10.77.9.2", "10.77.9.3", "10.77.9.4"), "10.77.9.2"),
        (("fd77::3", "fd77::2"), "fd77::2"),
    ],
)
def test_used_address_is_found(addresses: tuple[str, ...], used_address: str) -> None:
    """
    A machine that uses an address is found by its reply to the address resolution (ARP, NDP).

    Preconditions: during the first check, the machine has the address. Before the second check, the
    machine loses the address, but the neighbor table still has the old entry. The first address of
    the second check has no entry in the table.
    Expected: the error of the first check names the address and the MAC of the machine. The second
    check deletes the old entry and finds no used address. An address without an entry does not
    stop the deletion.
    """
    with (
        create_linked_namespaces() as namespaces,
        open_namespace_host("client", "10.77.9.1", namespaces.client) as client,
    ):
        for address in GUEST_ADDRESSES:
            namespaces.guest.add_address(address, "guest")
        namespaces.guest.run("ip", "link", "set", "guest", "up")

        with pytest.raises(HostError, match=re.escape(f"in use: {used_address} ({GUEST_MAC})")):
            check_free_addresses(client, (), addresses, ())

        namespaces.guest.run("ip", "address", "flush", "dev", "guest")
        new_address = "fd77::9" if ":" in used_address else "10.77.9.9"
        assert find_used_addresses(client, (new_address, *addresses)) == {}


def test_used_mac_is_found() -> None:
    """A MAC that another machine uses is found in the forwarding table (FDB) of the bridge.

    The table contains the MAC of each machine that sent a frame through the bridge.
    """
    with (
        create_linked_namespaces() as namespaces,
        open_namespace_host("a1", "10.77.9.1", namespaces.client) as host,
    ):
        namespaces.client.run("ip", "link", "add", "br0", "type", "bridge")
        namespaces.client.run("ip", "link", "set", "client", "master", "br0")
        namespaces.client.run("bridge", "fdb", "add", GUEST_MAC, "dev", "client", "master")

        assert find_used_macs(host, ["02:00:00:00:00:07", GUEST_MAC.upper()]) == [GUEST_MAC.upper()]
        assert find_used_macs(host, ["02:00:00:00:00:07"]) == []


def test_only_replies_count() -> None:
    """Another machine counts as the user of an address only if the neighbor entry is REACHABLE.

    Only a reply of the machine makes the entry in the neighbor table REACHABLE.
    """
    neighbors = """\
10.0.0.1 dev br0 lladdr 52:54:00:00:00:01 REACHABLE
10.0.0.2 dev br0 lladdr 52:54:00:00:00:02 STALE
10.0.0.3 dev br0 INCOMPLETE
10.0.0.4 dev br0 lladdr 52:54:00:00:00:04 router REACHABLE
10.0.0.5 dev br0 lladdr 52:54:00:00:00:05 REACHABLE
"""
    addresses = tuple(f"10.0.0.{number}" for number in range(1, 5))

    assert list(parse_used_addresses(neighbors, addresses)) == ["10.0.0.1", "10.0.0.4"]


def test_many_used_addresses_are_counted() -> None:
    used_addresses = {f"10.0.0.{number}": "52:54:00:00:00:01" for number in range(1, 6)}

    text = describe_used_addresses(used_addresses)

    assert "10.0.0.3 (52:54:00:00:00:01) and 2 more" in text


def test_macs_of_guests_have_a_prefix_of_their_own() -> None:
    """The MAC of a guest is locally administered and unicast (IEEE 802), without libvirt's prefix.

    The prefix of libvirt is 52:54:00.
    """
    mac = derive_mac("mq-abcdef-0-1", 0)

    assert int(mac[:2], 16) & 0b11 == 0b10
    assert not mac.startswith("52:54:00")
