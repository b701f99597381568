"""Preflight probes the connections between two hosts with IPv4 and with IPv6."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.inventory.entities import Inventory, format_uri_host
from migqual.preflight.facts import ConnectionPurpose
from migqual.preflight.network_probes import probe_data_port, probe_libvirt_connection
from migqual.probes.probe_context import ProbeContext
from suites.selftest.support.namespace_host import open_namespace_host
from suites.selftest.support.network_namespace import GUEST_ADDRESSES, LinkedNamespaces

pytestmark = pytest.mark.selftest
LIBVIRT_PORT = "16509"


@pytest.fixture
def probe_context(program: Path, tmp_path: Path) -> Iterator[ProbeContext]:
    payload_paths = {name: PurePosixPath(program) for name in ("first", "second")}
    with closing(Journal("run", Inventory(hosts={}, pairs=()), tmp_path)) as journal:
        yield ProbeContext(journal, payload_paths)


def test_data_port_is_reached_in_both_directions(
    linked_hosts: tuple[Host, Host], probe_context: ProbeContext
) -> None:
    """
    Each of two hosts connects to a migration port of the other host and gets a reply.

    Expected: the probe passes in both directions. The endpoint in each result, for example
    `10.77.9.2 port 49200`, has the migration address of one of the two hosts.
    """
    host, peer = linked_hosts

    for attempt in (
        probe_data_port(host, peer, probe_context),
        probe_data_port(peer, host, probe_context),
    ):
        assert (attempt.purpose, attempt.succeeded, attempt.message) == (
            ConnectionPurpose.DATA,
            True,
            "passed",
        )
        assert attempt.endpoint.partition(" port ")[0] in {host.entry.address, peer.entry.address}


def test_control_port_of_the_peer_uri_is_reached(
    linked_hosts: tuple[Host, Host], probe_context: ProbeContext
) -> None:
    """The probe reaches the libvirt port in the peer URI, also with an IPv6 address in brackets."""
    host, peer = linked_hosts
    peer.entry = replace(peer.entry, peer_uri_template=f"qemu+tcp://{{address}}:{LIBVIRT_PORT}/")
    assert format_uri_host(peer.entry.address) in peer.entry.peer_uri
    payload = probe_context.get_payload_path(peer)

    refused_attempt = next(probe_libvirt_connection(host, peer, probe_context))
    with peer.shell.start(payload, "tcp", "listen", peer.entry.address, LIBVIRT_PORT) as listener:
        assert listener.read_first_line().startswith("ready")
        attempt = next(probe_libvirt_connection(host, peer, probe_context))

    assert (refused_attempt.succeeded, refused_attempt.message) == (False, "Connection refused")
    assert (attempt.succeeded, attempt.message) == (True, "passed")


@pytest.mark.parametrize("address", ["10.77.9.2", "fd77::2"], ids=["ipv4", "ipv6"])
def test_all_addresses_of_a_name_are_tried(
    namespaces: LinkedNamespaces, probe_context: ProbeContext, tmp_path: Path, address: str
) -> None:
    """
    The probe of the libvirt port passes if one address of the peer accepts the connection.

    Preconditions: the peer's name has an IPv4 and an IPv6 address. The peer listens on one of
    these addresses.
    Expected: the probe tries each address until one accepts the connection, as libvirt does.
    """
    hosts_file = tmp_path / "hosts"
    hosts_file.write_text("10.77.9.2 peer\nfd77::2 peer\n")
    namespaces.client.run("mount", "--bind", str(hosts_file), "/etc/hosts")
    namespaces.guest.run("ip", "link", "set", "guest", "up")
    for guest_address in GUEST_ADDRESSES:
        namespaces.guest.add_address(guest_address, "guest")
    payload = probe_context.payload_paths["second"]

    with (
        open_namespace_host("first", "10.77.9.1", namespaces.client) as host,
        open_namespace_host("second", "peer", namespaces.guest) as peer,
        peer.shell.start(payload, "tcp", "listen", address, LIBVIRT_PORT) as listener,
    ):
        peer.entry = replace(peer.entry, peer_uri_template=f"qemu+tcp://peer:{LIBVIRT_PORT}/")
        assert listener.read_first_line().startswith("ready")
        attempt = next(probe_libvirt_connection(host, peer, probe_context))

    assert (attempt.succeeded, attempt.message) == (True, "passed")
