"""What crosses the link between two hosts: connections, TLS or not, and known contents in them.

A program on one of the hosts listens on the interface of its migration address and looks for byte
strings that memory pages and disk blocks of our guests begin with. Nothing is stored.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from migqual.errors import HostError, InconclusiveError
from migqual.hosts import link
from migqual.hosts.host import Host
from migqual.hosts.shell import Process

SSH_PORT = 22
# of the bytes of a connection; less is talk about a disk, not the disk
_CARRIES_BYTES = 256 * 1024


@dataclass(frozen=True)
class Channel:
    """One TCP connection, be it that nothing was ever said on it. hits: how often each marker was
    seen in it, by marker."""

    local_port: int
    remote_port: int
    bytes: int
    tls: bool
    hits: dict[str, int]

    @property
    def carries(self) -> bool:
        """Whether it carried memory or a disk, and not just words."""
        return self.bytes >= _CARRIES_BYTES


@dataclass
class Capture:
    """What was seen; complete once the block has ended."""

    channels: tuple[Channel, ...] = ()
    packets: int = 0
    dropped: int = 0

    @property
    def carrying(self) -> tuple[Channel, ...]:
        return tuple(channel for channel in self.channels if channel.carries)

    @property
    def hits(self) -> dict[str, int]:
        """How often each marker was seen, on all connections."""
        found: Counter[str] = Counter()
        for channel in self.channels:
            found.update(channel.hits)
        return dict(found)


@contextmanager
def capturing(
    host: Host, payload: PurePosixPath, peer: Host, markers: Sequence[str]
) -> Iterator[Capture]:
    """Listen on `host` to what it exchanges with `peer` while the block runs. SSH is left out.

    Raises `InconclusiveError` when the machine was too busy to look at every packet.
    """
    here, there = link.address(peer, host), link.address(host, peer)
    words = ("wire", "--here", here, "--there", there, "--markers", ",".join(markers))
    capture = Capture()
    with host.shell.start(payload, *words) as process:
        lines = iter(process)
        _ready(host, lines)
        yield capture
        _end(process, lines, capture, tuple(markers))
    if not capture.packets:
        raise InconclusiveError(f"{host.name}: nothing was seen between {here} and {there}")
    if capture.dropped:
        raise InconclusiveError(
            f"{host.name}: {capture.dropped} of {capture.packets} packets were not looked at"
        )


def _ready(host: Host, lines: Iterator[str]) -> None:
    said = next(lines, "").strip()
    if said != "ready":
        raise HostError(host.name, f"cannot listen on the link: {said}", remedy="log in as root")


def _end(process: Process, lines: Iterator[str], into: Capture, markers: tuple[str, ...]) -> None:
    process.send("stop")
    seen: dict[str, Any] = json.loads(next(lines, "{}"))
    into.packets = int(seen["packets"])
    into.dropped = int(seen["dropped"]) + int(seen["overlooked"])
    into.channels = tuple(
        Channel(
            one["local_port"],
            one["remote_port"],
            one["bytes"],
            one["tls"],
            dict(zip(markers, one["hits"], strict=True)),
        )
        for one in seen["connections"]
        if SSH_PORT not in {one["local_port"], one["remote_port"]}
    )
