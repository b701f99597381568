"""A cut of the link drops the chosen packets only, and the kernel itself can end the cut.

A cut is a table of nftables rules on a host. The rules drop packets of the migration link.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, WithheldError
from migqual.faults.link_cut import (
    LinkCut,
    LinkTraffic,
    build_connection_rules,
    build_cut_rules,
    cut_migration_link,
    find_control_port,
)
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.tcp_connections import TcpConnection
from migqual.inventory.entities import Inventory
from suites.selftest.support.namespace_host import NamespaceShell

pytestmark = pytest.mark.selftest

CONTROL_PORT = 22  # of the default URI, qemu+ssh
DATA_PORT = 49152
_CONNECT_SCRIPT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.3)
"""
_LISTEN_SCRIPT = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
servers = [socket.create_server((sys.argv[1], int(port)), family=family) for port in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal("test", Inventory(hosts={}, pairs=()), tmp_path)
    yield journal
    assert journal.open_entries == ()
    journal.close()


@contextmanager
def listen(host: Host, *ports: int) -> Iterator[None]:
    """Accept TCP connections at the address of `host` while the block runs."""
    namespace = cast("NamespaceShell", host.shell)._namespace  # noqa: SLF001
    arguments = [host.entry.address, *map(str, ports)]
    with subprocess.Popen(
        [*namespace.launcher, "python3", "-c", _LISTEN_SCRIPT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate("")


def can_connect(host: Host, peer: Host, port: int) -> bool:
    argv = ("python3", "-c", _CONNECT_SCRIPT, peer.entry.address, str(port))
    return host.shell.run_unchecked(*argv).status == 0


@pytest.mark.parametrize(
    ("traffic", "open_ports"),
    [
        (LinkTraffic.DATA, {CONTROL_PORT}),
        (LinkTraffic.CONTROL, {DATA_PORT}),
        (LinkTraffic.ALL, set()),
    ],
)
def test_cut_drops_the_chosen_traffic(
    traffic: LinkTraffic, open_ports: set[int], linked_hosts: tuple[Host, Host], journal: Journal
) -> None:
    """
    A cut of the link stops only the chosen kind of traffic, and the `with` block ends the cut.

    Preconditions: the peer accepts connections on the port of SSH and on a port of QEMU.
    Expected: connections work before the cut and after the cut. During the cut, only connections
    of the other kind work, and the kernel counts dropped packets.
    """
    host, peer = linked_hosts
    ports = {CONTROL_PORT, DATA_PORT}
    with listen(peer, *ports):
        assert {port for port in ports if can_connect(host, peer, port)} == ports

        with cut_migration_link(journal, host, peer, traffic) as cut:
            assert {port for port in ports if can_connect(host, peer, port)} == open_ports
            assert cut.count_dropped_packets()

        assert {port for port in ports if can_connect(host, peer, port)} == ports


def test_kernel_ends_the_cut(linked_hosts: tuple[Host, Host], journal: Journal) -> None:
    """
    The kernel ends a cut of the link after the time limit, without a command of the controller.

    Expected: no connection to the peer succeeds during the cut. After the time limit of 1 s, a
    connection succeeds, although the nftables rules of the cut still exist.
    """
    host, peer = linked_hosts
    with (
        listen(peer, DATA_PORT),
        cut_migration_link(journal, host, peer, max_seconds=1) as cut,
    ):
        assert not can_connect(host, peer, DATA_PORT)
        Deadline(5).wait_for("the end of the cut", lambda: can_connect(host, peer, DATA_PORT))
        assert cut.count_dropped_packets()


def test_cut_without_a_packet_is_inconclusive(
    linked_hosts: tuple[Host, Host], journal: Journal
) -> None:
    host, peer = linked_hosts
    with (
        pytest.raises(InconclusiveError, match="the cut of the link dropped no packet"),
        cut_migration_link(journal, host, peer),
    ):
        pass


def test_link_of_a_host_with_other_users_is_not_cut(
    linked_hosts: tuple[Host, Host], journal: Journal
) -> None:
    host, peer = linked_hosts
    peer.entry = replace(peer.entry, is_exclusive=False)
    with (
        pytest.raises(WithheldError, match="others may use second"),
        cut_migration_link(journal, host, peer),
    ):
        pytest.fail("the link was cut")


@pytest.mark.parametrize(
    ("uri", "port"),
    [
        ("qemu+ssh://b1/system", 22),
        ("qemu+ssh://admin@[fd77::2]:2222/system", 2222),
        ("qemu+tls://b1/system", 16514),
        ("qemu://b1/system", 16514),
        ("qemu+tcp://b1/system", 16509),
    ],
)
def test_port_of_the_control_connection(uri: str, port: int) -> None:
    assert find_control_port(uri) == port


_TALK_SCRIPT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
print(*connection.getsockname()[:2], flush=True)
for line in sys.stdin:
    connection.sendall(line.encode())
"""


def test_only_the_given_connection_is_cut(linked_hosts: tuple[Host, Host]) -> None:
    """
    The firewall rules for a connection drop the packets of this connection only.

    Preconditions: the host has a connection to a port of the peer.
    Expected: the rules drop the data that the host sends on this connection. Meanwhile, a new
    connection to the same port works.
    """
    host, peer = linked_hosts
    with (
        listen(peer, DATA_PORT),
        host.shell.start("python3", "-c", _TALK_SCRIPT, peer.entry.address, str(DATA_PORT)) as talk,
    ):
        address, port = talk.read_first_line().split()
        connection = TcpConnection(address, int(port), peer.entry.address, DATA_PORT, 0)
        host.shell.run("nft", build_connection_rules("mq_cut_1", [connection], 60))
        cut = LinkCut(host, "mq_cut_1")
        assert cut.count_dropped_packets() == 0

        talk.send_line("data")
        Deadline(5).wait_for("a dropped packet", cut.count_dropped_packets)
        assert can_connect(host, peer, DATA_PORT)


def test_rules_match_packets_of_the_peer_only() -> None:
    """The firewall rules drop only packets from and to the peer.

    Every rule that drops packets names the nftables set `peers`. This set contains only the
    address of the peer.
    """
    rules = build_cut_rules("mq_cut_1", "192.0.2.1", LinkTraffic.ALL, 22, 60).splitlines()

    drop_rules = [rule for rule in rules if "drop" in rule.split()]
    assert [rule.split()[:9] for rule in drop_rules] == [
        ["add", "rule", "inet", "mq_cut_1", "input", "ip", "saddr", "@peers", "counter"],
        ["add", "rule", "inet", "mq_cut_1", "output", "ip", "daddr", "@peers", "counter"],
    ]
    assert "add element inet mq_cut_1 peers { 192.0.2.1 timeout 60s }" in rules
