"""The capture of the link between two hosts, for IPv4 and IPv6."""

from pathlib import Path, PurePosixPath

import pytest

from migqual.hosts.host import Host
from migqual.observe.link_capture import capture_link

pytestmark = pytest.mark.selftest
MARKER = "01" * 16


def test_connection_of_the_peer_is_captured(linked_hosts: tuple[Host, Host], program: Path) -> None:
    """
    The capture contains a connection between the migration addresses.

    Expected: one connection with the port of the listener and with data; no packet is missed.
    """
    host, peer = linked_hosts
    payload = PurePosixPath(program)

    with host.shell.start(payload, "tcp", "listen", host.entry.address, "0") as listener:
        port = listener.read_first_line().split()[1]
        with capture_link(host, payload, peer, [MARKER]) as capture:
            peer.shell.run(payload, "tcp", "connect", host.entry.address, port)

    assert [connection.local_port for connection in capture.connections] == [int(port)]
    assert capture.connections[0].bytes > 0
    assert capture.marker_counts == {MARKER: 0}
