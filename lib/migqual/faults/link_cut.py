"""Cut the migration link between two hosts, by rules of nftables that drop packets.

The rules are on one host. They match the connections of one guest's QEMU process only, or all
traffic with the other host. After a time limit, the kernel ends the cut without a command of the
controller: the rules take the addresses from a set of nftables with a timeout.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from secrets import token_hex
from urllib.parse import urlsplit

from migqual.errors import InconclusiveError
from migqual.faults.injection import inject_commands, require_exclusive_hosts
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.network_link import resolve_migration_address
from migqual.hosts.tcp_connections import TcpConnection, list_addresses, list_qemu_connections

_DROP = "counter name dropped drop"
# the resets that the kernel itself sends must pass
_RESET = "tcp flags & rst == 0 counter name dropped reject with tcp reset"
MAX_CUT_SECONDS = 240  # after which the kernel ends a cut
_SCHEME_PORTS = {"qemu+ssh": 22, "qemu+libssh": 22, "qemu+libssh2": 22, "qemu+tcp": 16509}
_TLS_PORT = 16514  # libvirt's default for qemu:// and qemu+tls://


class LinkTraffic(StrEnum):
    """Kinds of traffic between two hosts. A cut drops the packets of one kind.

    Attributes:
        DATA: The connections between the two QEMU processes, for memory and disks.
        CONTROL: The connection from the source's libvirt to the destination's libvirt.
        ALL: Every packet between the two hosts on the migration network.
    """

    DATA = "data"
    CONTROL = "control"
    ALL = "all"


@dataclass(frozen=True)
class LinkCut:
    """A cut of the migration link that is in force: nftables rules that drop packets.

    Attributes:
        host: The host with the rules.
        table: Name of the nftables table that contains the rules.
    """

    host: Host
    table: str

    def count_dropped_packets(self) -> int | None:
        """Return the number of dropped packets, or None if the nftables table does not exist."""
        argv = ("nft", "list", "counter", "inet", self.table, "dropped")
        counter = re.search(r"packets (\d+)", self.host.shell.run_unchecked(*argv).stdout)
        return None if counter is None else int(counter[1])


@contextmanager
def cut_migration_link(
    journal: Journal,
    source: Host,
    destination: Host,
    traffic: LinkTraffic = LinkTraffic.DATA,
    *,
    max_seconds: int = MAX_CUT_SECONDS,
) -> Iterator[LinkCut]:
    """Drop all packets of `traffic` between the two hosts while the block runs.

    The function adds a table to nftables on the source. Rules in this table drop the packets.

    Args:
        journal: Records the table before it is added, so that `migqual sweep` can remove it.
        source: The host with the table.
        destination: The peer; the rules match the migration address of this host.
        traffic: The kind of traffic to drop.
        max_seconds: After this time the kernel ends the cut.

    Yields:
        The cut, with the count of dropped packets.

    Raises:
        InconclusiveError: The rules are not in force, or dropped no packet.
        WithheldError: One of the hosts has no `migqual_exclusive: true` and is not a lab host.
    """
    require_exclusive_hosts("cut of the migration link", source, destination)
    address = resolve_migration_address(source, destination)
    control_port = find_control_port(destination.entry.peer_uri)

    def build_rules(table: str) -> str:
        return build_cut_rules(table, address, traffic, control_port, max_seconds)

    with _filter_packets(journal, source, build_rules) as cut:
        yield cut


@contextmanager
def cut_qemu_connections(
    journal: Journal,
    guest: Guest,
    destination: Host,
    *,
    max_seconds: int = MAX_CUT_SECONDS,
) -> Iterator[LinkCut]:
    """Drop all packets of the connections between the two QEMU processes of a migrating guest.

    The function adds a table to nftables on the guest's host. Rules in this table drop the packets.
    No other connection is affected, so the function accepts hosts with other users.

    Args:
        journal: Records the table before it is added, so that `migqual sweep` can remove it.
        guest: The migrating guest.
        destination: The host to which the guest migrates.
        max_seconds: After this time the kernel ends the cut.

    Yields:
        The cut, with the count of dropped packets.

    Raises:
        InconclusiveError: QEMU has no connection to the destination, the rules are not in force,
            or they dropped no packet.
    """
    connections = _require_connections(guest.host, guest, destination)

    def build_rules(table: str) -> str:
        return build_connection_rules(table, connections, max_seconds)

    with _filter_packets(journal, guest.host, build_rules) as cut:
        yield cut


@contextmanager
def reset_qemu_connections(
    journal: Journal,
    guest: Guest,
    destination: Host,
    *,
    max_seconds: int = MAX_CUT_SECONDS,
) -> Iterator[LinkCut]:
    """Reset the TCP connections between the two QEMU processes of a migrating guest.

    Both processes lose their connections at once, but a new connection is possible. The rules are
    on the destination: its kernel answers the next packet that QEMU there sends, for example an
    acknowledgement, with a TCP reset. The next packet of the source then meets no connection.

    The arguments and errors are the same as those of `cut_qemu_connections`.
    """
    connections = _require_connections(destination, guest, guest.host)

    def build_rules(table: str) -> str:
        return build_reset_rules(table, connections, max_seconds)

    with _filter_packets(journal, destination, build_rules) as cut:
        yield cut


def _require_connections(host: Host, guest: Guest, peer: Host) -> tuple[TcpConnection, ...]:
    """List the connections of the guest's QEMU on the host to the peer.

    Raises:
        InconclusiveError: QEMU has no connection to the peer.
    """
    connections = list_qemu_connections(host, guest.name, list_addresses(peer))
    if not connections:
        raise InconclusiveError(
            f"{host.name}: QEMU of {guest.name} has no connection to {peer.name}"
        )
    return connections


@contextmanager
def _filter_packets(
    journal: Journal, host: Host, build_rules: Callable[[str], str]
) -> Iterator[LinkCut]:
    """Put the rules of `build_rules` in force on the host while the block runs.

    Raises:
        InconclusiveError: The rules are not in force, or dropped no packet.
    """
    cut = LinkCut(host, f"mq_cut_{token_hex(4)}")
    with inject_commands(
        journal,
        host,
        f"link cut {cut.table}",
        [("nft", build_rules(cut.table))],
        [("nft", f"delete table inet {cut.table}")],
        lambda: cut.count_dropped_packets() is not None,
    ):
        yield cut
        if not cut.count_dropped_packets():
            raise InconclusiveError(
                f"{host.name}: the cut of the link dropped no packet, because no packet matched "
                "the rules of the cut. Check that the hosts use this link during the cut"
            )


def find_control_port(peer_uri: str) -> int:
    """Return the TCP port to which a libvirt connects for `peer_uri`."""
    uri = urlsplit(peer_uri)
    return uri.port or _SCHEME_PORTS.get(uri.scheme, _TLS_PORT)


def build_cut_rules(
    table: str, address: str, traffic: LinkTraffic, control_port: int, max_seconds: int
) -> str:
    """Build the commands for nft(8) that drop the packets from and to `address`.

    Args:
        table: Name of the new table.
        address: IP address of the peer.
        traffic: The traffic to drop.
        control_port: TCP port of the peer to which libvirt connects.
        max_seconds: Time after which the kernel removes the address from the rules, so that the
            packets pass again.
    """
    is_ipv6 = ip_address(address).version == 6
    family, set_type = ("ip6", "ipv6_addr") if is_ipv6 else ("ip", "ipv4_addr")
    lines = [
        f"add table inet {table}",
        f"add set inet {table} peers {{ type {set_type}; flags timeout; }}",
        f"add element inet {table} peers {{ {address} timeout {max_seconds}s }}",
        f"add counter inet {table} dropped",
    ]
    for hook, field, port_field in (("input", "saddr", "sport"), ("output", "daddr", "dport")):
        match = {
            LinkTraffic.DATA: f"tcp {port_field} != {control_port}",
            LinkTraffic.CONTROL: f"tcp {port_field} {control_port}",
            LinkTraffic.ALL: "",
        }[traffic]
        chain = f"inet {table} {hook}"
        lines += [
            f"add chain {chain} {{ type filter hook {hook} priority -10; }}",
            f"add rule {chain} {family} {field} @peers {match} counter name dropped drop",
        ]
    return "\n".join(lines)


def build_connection_rules(
    table: str, connections: Sequence[TcpConnection], max_seconds: int
) -> str:
    """Build the commands for nft(8) that drop the packets of the connections, both directions.

    Args:
        table: Name of the new table.
        connections: The connections, with IPv4 addresses, IPv6 addresses, or both.
        max_seconds: Time after which the kernel removes the connections from the rules, so that
            the packets pass again.
    """
    return _build_filter_rules(table, connections, max_seconds, ("input", "output"), _DROP)


def build_reset_rules(table: str, connections: Sequence[TcpConnection], max_seconds: int) -> str:
    """Build the commands for nft(8) that reset the connections when the host sends a packet.

    The arguments are the same as those of `build_connection_rules`.
    """
    return _build_filter_rules(table, connections, max_seconds, ("output",), _RESET)


def _build_filter_rules(
    table: str,
    connections: Sequence[TcpConnection],
    max_seconds: int,
    hooks: Sequence[str],
    verdict: str,
) -> str:
    lines = [f"add table inet {table}", f"add counter inet {table} dropped"]
    lines += [
        f"add chain inet {table} {hook} {{ type filter hook {hook} priority -10; }}"
        for hook in hooks
    ]
    for family, set_type in (("ip", "ipv4_addr"), ("ip6", "ipv6_addr")):
        key_type = f"{set_type} . inet_service . {set_type} . inet_service"
        match = f"{family} saddr . tcp sport . {family} daddr . tcp dport @{family}_connections"
        lines.append(
            f"add set inet {table} {family}_connections {{ type {key_type}; flags timeout; }}"
        )
        lines += [f"add rule inet {table} {hook} {match} {verdict}" for hook in hooks]
    for connection in connections:
        family = "ip6" if ip_address(connection.local_address).version == 6 else "ip"
        local = f"{connection.local_address} . {connection.local_port}"
        peer = f"{connection.peer_address} . {connection.peer_port}"
        lines += [
            f"add element inet {table} {family}_connections {{ {key} timeout {max_seconds}s }}"
            for key in (f"{local} . {peer}", f"{peer} . {local}")
        ]
    return "\n".join(lines)
