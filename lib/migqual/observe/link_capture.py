"""Capture the link between two hosts: connections, TLS or not, and known contents.

A program on a host listens on the interface of the migration address. The program searches for
byte strings at the start of the guests' memory pages and disk blocks. No traffic is stored.
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
from migqual.hosts.shell import RemoteProcess

SSH_PORT = 22
# minimum bytes of a connection with guest data; the control messages of a disk are fewer
_MIN_GUEST_BYTES = 256 * 1024


@dataclass(frozen=True)
class CapturedConnection:
    """A TCP connection, possibly without any data.

    Attributes:
        marker_counts: Number of occurrences in the connection, by marker.
    """

    local_port: int
    remote_port: int
    bytes: int
    tls: bool
    marker_counts: dict[str, int]

    @property
    def has_guest_data(self) -> bool:
        """Return whether the connection carried memory or a disk, not only control messages."""
        return self.bytes >= _MIN_GUEST_BYTES


@dataclass
class LinkCapture:
    """Result of a capture; complete after the block of `capture_link`."""

    connections: tuple[CapturedConnection, ...] = ()
    packets: int = 0
    dropped: int = 0

    @property
    def guest_connections(self) -> tuple[CapturedConnection, ...]:
        """Return the connections with memory or disk data."""
        return tuple(connection for connection in self.connections if connection.has_guest_data)

    @property
    def marker_counts(self) -> dict[str, int]:
        """Return the number of occurrences on all connections, by marker."""
        counts: Counter[str] = Counter()
        for connection in self.connections:
            counts.update(connection.marker_counts)
        return dict(counts)


@contextmanager
def capture_link(
    host: Host, payload: PurePosixPath, peer: Host, markers: Sequence[str]
) -> Iterator[LinkCapture]:
    """Capture on `host` the traffic with `peer` while the block runs. SSH is left out.

    Args:
        host: The host to listen on.
        payload: Path of migqual-payload on `host`.
        peer: The other host of the link.
        markers: Markers of the guest's pages and blocks, as reported by the payload.

    Raises:
        HostError: The program cannot listen on the link.
        InconclusiveError: No packet was seen, or the machine was too busy to inspect every
            packet.
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
            f"cannot capture packets on the link: {first_line}",
            remedy="log in to the host as root",
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
