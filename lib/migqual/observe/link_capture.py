"""Capture the traffic between two hosts: TCP connections, TLS, and known contents of guests.

A program on a host listens on the interface of the migration address. The program searches for
markers: known bytes at the start of the memory pages and disk blocks of guests. The program
stores no traffic.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from migqual.errors import HostError, InconclusiveError
from migqual.hosts import network_link
from migqual.hosts.host import Host
from migqual.hosts.remote_process import RemoteProcess

SSH_PORT = 22
# A connection with fewer bytes carries no guest data, only control messages of a disk.
_MIN_GUEST_BYTES = 256 * 1024


@dataclass(frozen=True)
class CapturedConnection:
    """A captured TCP connection between the two hosts.

    Attributes:
        bytes: Number of captured data bytes, without headers.
        tls: Whether the connection uses TLS.
        marker_counts: Number of occurrences of each marker (known bytes of guest data).
    """

    local_port: int
    remote_port: int
    bytes: int
    tls: bool
    marker_counts: dict[str, int]

    @property
    def has_guest_data(self) -> bool:
        """Return whether the connection carried memory or disk data, that is, at least 256 KiB."""
        return self.bytes >= _MIN_GUEST_BYTES


@dataclass
class LinkCapture:
    """The result of a traffic capture. `capture_link` fills the fields after the `with` block.

    Attributes:
        packets: Number of captured packets.
        dropped: Number of packets that the capture missed.
    """

    connections: tuple[CapturedConnection, ...] = ()
    packets: int = 0
    dropped: int = 0

    @property
    def guest_connections(self) -> tuple[CapturedConnection, ...]:
        """Return the connections that carried memory or disk data."""
        return tuple(connection for connection in self.connections if connection.has_guest_data)

    @property
    def marker_counts(self) -> dict[str, int]:
        """Count each marker (known bytes of guest data) on all connections together."""
        counts: Counter[str] = Counter()
        for connection in self.connections:
            counts.update(connection.marker_counts)
        return dict(counts)


@contextmanager
def capture_link(
    host: Host, payload: PurePosixPath, peer: Host, markers: Sequence[str]
) -> Iterator[LinkCapture]:
    """Capture the traffic between two hosts, except SSH, while the `with` block runs.

    Args:
        host: The host on which the capture runs.
        payload: Path of migqual-payload on `host`.
        peer: The host at the other end of the connections.
        markers: Known bytes of guest data to search for, in hex, as reported by the guest.

    Raises:
        HostError: The program cannot listen on the interface of the migration address.
        InconclusiveError: The capture has no packet, or missed a packet.
    """
    host_address, peer_address = (
        network_link.resolve_migration_address(peer, host),
        network_link.resolve_migration_address(host, peer),
    )
    arguments = (
        "wire",
        "--here",
        host_address,
        "--there",
        peer_address,
        "--markers",
        ",".join(markers),
    )
    capture = LinkCapture()
    with host.shell.start(payload, *arguments) as process:
        _wait_until_ready(host, process)
        lines = iter(process)
        yield capture
        _read_result(process, lines, capture, tuple(markers))
    if not capture.packets:
        raise InconclusiveError(
            f"{host.name}: no packet was captured between {host_address} and {peer_address}"
        )
    if capture.dropped:
        raise InconclusiveError(
            f"{host.name}: the capture missed {capture.dropped} of {capture.packets} packets"
        )


def _wait_until_ready(host: Host, process: RemoteProcess) -> None:
    first_line = process.read_first_line()
    if first_line != "ready":
        raise HostError(
            host.name,
            f"cannot capture packets on the interface of the migration address: {first_line}",
            remedy=f"log in to {host.name} as root, or set ansible_become in the inventory",
        )


def _read_result(
    process: RemoteProcess, lines: Iterator[str], capture: LinkCapture, markers: tuple[str, ...]
) -> None:
    process.send_line("stop")
    result: dict[str, Any] = json.loads(next(lines, "{}"))
    capture.packets = int(result["packets"])
    capture.dropped = int(result["dropped"]) + int(result["overlooked"])
    capture.connections = tuple(
        CapturedConnection(
            connection["local_port"],
            connection["remote_port"],
            connection["bytes"],
            connection["tls"],
            dict(zip(markers, connection["hits"], strict=True)),
        )
        for connection in result["connections"]
        if SSH_PORT not in {connection["local_port"], connection["remote_port"]}
    )
