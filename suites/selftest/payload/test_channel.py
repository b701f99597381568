"""Commands reach the payload over the virtio-serial port, without a new process in the guest."""

import json
import os
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.support.payload_daemon import PayloadDaemon, run_payload_daemon

pytestmark = pytest.mark.selftest


@dataclass(frozen=True)
class TerminalPort:
    """The host end (master) of a pseudo-terminal, which replaces a virtio-serial port in tests."""

    descriptor: int
    daemon: PayloadDaemon

    def write(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def read_replies(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Read `count` lines; return the request id and the JSON reply of each line."""
        text = b""
        while text.count(b"\n") < count:
            text += os.read(self.descriptor, 65536)
        fields = (line.partition(" ") for line in text.decode().splitlines())
        return [(request_id, json.loads(reply)) for request_id, _, reply in fields]


@pytest.fixture
def port(program: Path, tmp_path: Path) -> Iterator[TerminalPort]:
    """Start a payload daemon on the guest end (slave) of a pseudo-terminal; yield the host end."""
    host_end, guest_end = os.openpty()
    tty.setraw(guest_end)
    try:
        with run_payload_daemon(program, tmp_path, "--channel", os.ttyname(guest_end)) as daemon:
            yield TerminalPort(host_end, daemon)
    finally:
        os.close(host_end)
        os.close(guest_end)


@pytest.mark.timeout(20)
def test_channel_replies_in_order_up_to_the_first_refusal(port: TerminalPort) -> None:
    """
    A request can contain several commands; the commands run up to the first refusal.

    Expected: each reply has the id of the request; no command of the request runs after a
    refusal.
    """
    port.write("\n1 memory start a mib=1 ; memory verify a\n")
    port.write("2 memory verify b ; memory start b mib=1\n3 memory verify b\n")

    replies = port.read_replies(4)

    assert [(request_id, reply["ok"]) for request_id, reply in replies] == [
        ("1", True),
        ("1", True),
        ("2", False),
        ("3", False),
    ]
    assert replies[1][1]["checked"] == 256


@pytest.mark.timeout(20)
def test_channel_recovers_from_a_broken_request(port: TerminalPort) -> None:
    """
    A broken request over the virtio-serial port does not disturb the next request.

    Preconditions: the payload gets a request that ends in the middle of a word (`memory ver`).
    Later the payload gets a request that is longer than the payload's buffer of 8 KiB.
    Expected: the payload replies to the first request with an error. After each broken request,
    the payload executes the next request.
    """
    port.write("7 memory ver\n8 status\n")
    error_reply, status_reply = port.read_replies(2)
    port.write("9" * 10_000)
    port.write("\n10 status\n")
    last_reply = port.read_replies(1)[0]

    assert (error_reply[0], error_reply[1]["ok"]) == ("7", False)
    assert (status_reply[0], status_reply[1]["ok"]) == ("8", True)
    assert (last_reply[0], last_reply[1]["ok"]) == ("10", True)


@pytest.mark.timeout(20)
def test_socket_and_channel_share_memory_regions(port: TerminalPort) -> None:
    """
    The control socket and the virtio-serial port lead to the same payload daemon.

    Expected: a memory region that was started over the port can be verified over the socket.
    """
    port.write("1 memory start a mib=1\n")
    marker = port.read_replies(1)[0][1]["marker"]

    assert port.daemon.run_command("memory verify a")["marker"] == marker
