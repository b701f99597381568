"""List the TCP connections of a guest's QEMU process, with the kernel's byte counts (ss(8))."""

import re
from dataclasses import dataclass

from migqual.hosts.host import Host

_PID_PATTERN = re.compile(r"\bpid=(\d+)")
_RECEIVED_PATTERN = re.compile(r"\bbytes_received:(\d+)")
_ENDPOINT_INDEX = 3  # field of the local endpoint; the endpoint of the peer follows


@dataclass(frozen=True)
class TcpConnection:
    """An established TCP connection of a process.

    Attributes:
        local_address: IP address without brackets.
        peer_address: IP address without brackets.
        received_bytes: Bytes of data that the kernel has received so far.
    """

    local_address: str
    local_port: int
    peer_address: str
    peer_port: int
    received_bytes: int


def list_qemu_connections(
    host: Host, guest_name: str, peer_addresses: tuple[str, ...]
) -> tuple[TcpConnection, ...]:
    """List the connections between QEMU of a guest on `host` and a peer.

    Args:
        host: The host of the QEMU process.
        guest_name: Name of the guest.
        peer_addresses: IP addresses of the peer.

    Raises:
        CommandFailed: `ss` fails.
    """
    pids = set(host.list_qemu_pids(guest_name))
    connections = parse_connections(host.shell.run("ss", "-tinpOH").stdout, pids)
    return tuple(one for one in connections if one.peer_address in peer_addresses)


def read_received_bytes(host: Host, guest_name: str, peer_addresses: tuple[str, ...]) -> int:
    """Read how many bytes QEMU of a guest on `host` has received from a peer so far.

    Closed connections do not count.

    Raises:
        CommandFailed: `ss` fails.
    """
    connections = list_qemu_connections(host, guest_name, peer_addresses)
    return sum(connection.received_bytes for connection in connections)


def list_addresses(host: Host) -> tuple[str, ...]:
    """List the IP addresses of all interfaces of the host (ip-address(8))."""
    lines = host.shell.run("ip", "-o", "addr", "show").stdout.splitlines()
    return tuple(
        fields[3].partition("/")[0]
        for fields in (line.split() for line in lines)
        if len(fields) > 3 and fields[2] in {"inet", "inet6"}  # NUMBER: NAME FAMILY ADDRESS
    )


def parse_connections(listing: str, pids: set[int]) -> tuple[TcpConnection, ...]:
    """Parse the established connections of processes from the output of ``ss -tinpOH``.

    Args:
        listing: The output, one line for each connection.
        pids: Ids of the processes.
    """
    connections = []
    for line in listing.splitlines():
        fields = line.split()
        is_process = any(int(pid) in pids for pid in _PID_PATTERN.findall(line))
        if not is_process or not line.startswith("ESTAB"):
            continue
        local_address, local_port = _parse_endpoint(fields[_ENDPOINT_INDEX])
        peer_address, peer_port = _parse_endpoint(fields[_ENDPOINT_INDEX + 1])
        received_bytes = sum(int(count) for count in _RECEIVED_PATTERN.findall(line))
        connections.append(
            TcpConnection(local_address, local_port, peer_address, peer_port, received_bytes)
        )
    return tuple(connections)


def _parse_endpoint(text: str) -> tuple[str, int]:
    """Parse ``ADDRESS:PORT``, and convert an IPv4-mapped IPv6 address to IPv4.

    For example, ``[::ffff:192.0.2.1]:22`` gives ``192.0.2.1`` and 22.
    """
    address, _, port = text.rpartition(":")
    return address.strip("[]").removeprefix("::ffff:"), int(port)
