"""Commands that reach the payload over its port, without a process in the guest."""

import json
import os
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.payload_daemon import Daemon, serving

pytestmark = pytest.mark.selftest


@dataclass(frozen=True)
class Port:
    """The host's end of a terminal that stands in for a virtio-serial port."""

    descriptor: int
    daemon: Daemon

    def write(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def read_answers(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The id and the JSON of the next `count` lines."""
        text = b""
        while text.count(b"\n") < count:
            text += os.read(self.descriptor, 65536)
        pairs = (line.partition(" ") for line in text.decode().splitlines())
        return [(number, json.loads(answer)) for number, _, answer in pairs]


@pytest.fixture
def port(program: Path, tmp_path: Path) -> Iterator[Port]:
    """A daemon that serves a terminal as its port."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    try:
        with serving(program, tmp_path, "--channel", os.ttyname(theirs)) as daemon:
            yield Port(ours, daemon)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.timeout(20)
def test_commands_are_answered_in_order_up_to_the_first_refusal(port: Port) -> None:
    """Expected: each answer bears the id of its request; nothing runs after a refusal."""
    port.write("\n1 memory start a mib=1 ; memory verify a\n")
    port.write("2 memory verify b ; memory start b mib=1\n3 memory verify b\n")

    answers = port.read_answers(4)

    assert [(number, answer["ok"]) for number, answer in answers] == [
        ("1", True),
        ("1", True),
        ("2", False),
        ("3", False),
    ]
    assert answers[1][1]["checked"] == 256


@pytest.mark.timeout(20)
def test_a_broken_request_does_not_spoil_the_next(port: Port) -> None:
    """
    Preconditions: half of a request; another one longer than any of ours.
    Expected: a line break ends the first; what follows the second is answered.
    """
    port.write("7 memory ver\n8 status\n")
    refused, answered = port.read_answers(2)
    port.write("9" * 10_000)
    port.write("\n10 status\n")
    last = port.read_answers(1)[0]

    assert (refused[0], refused[1]["ok"]) == ("7", False)
    assert (answered[0], answered[1]["ok"]) == ("8", True)
    assert (last[0], last[1]["ok"]) == ("10", True)


@pytest.mark.timeout(20)
def test_socket_and_port_serve_the_same_guest(port: Port) -> None:
    """Expected: a region that was started over the port is there for the socket."""
    port.write("1 memory start a mib=1\n")
    marker = port.read_answers(1)[0][1]["marker"]

    assert port.daemon.ask("memory verify a")["marker"] == marker
