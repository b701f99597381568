"""Addresses and interfaces of the link between two hosts, for IPv4 and IPv6."""

from pathlib import Path

import pytest

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.hosts.network_link import (
    find_migration_interface,
    read_sent_bytes,
    resolve_addresses,
    resolve_migration_address,
)
from suites.selftest.support.namespace_host import open_namespace_host
from suites.selftest.support.network_namespace import LinkedNamespaces

pytestmark = pytest.mark.selftest


def test_interface_on_the_route_to_the_peer(linked_hosts: tuple[Host, Host]) -> None:
    host, peer = linked_hosts

    assert find_migration_interface(host, peer) == "client"
    assert find_migration_interface(peer, host) == "guest"
    assert read_sent_bytes(host, peer) >= 0


def test_name_resolves_to_addresses_of_both_families(
    namespaces: LinkedNamespaces, tmp_path: Path
) -> None:
    """
    A name resolves to all its addresses in the hosts file, each address once.

    Expected: the IPv4 and the IPv6 address of the name. An IP address resolves to its shortest
    form. A name without an address is an error with a remedy.
    """
    hosts_file = tmp_path / "hosts"
    hosts_file.write_text("10.77.9.2 peer\nfd77::2 peer\n")
    namespaces.client.run("mount", "--bind", str(hosts_file), "/etc/hosts")

    with open_namespace_host("a", "peer", namespaces.client) as host:
        assert sorted(resolve_addresses(host, "peer")) == ["10.77.9.2", "fd77::2"]
        assert resolve_migration_address(host, host) in {"10.77.9.2", "fd77::2"}
        assert resolve_addresses(host, "FD77:0:0::2") == ("fd77::2",)
        with pytest.raises(HostError, match="stranger resolves to no IP address") as error_info:
            resolve_addresses(host, "stranger")
    assert error_info.value.remedy
