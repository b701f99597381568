"""The payload commands `wire` and `answers` capture packets of IPv4 and of IPv6."""

import json
import subprocess
from pathlib import Path

import pytest

from migqual.observe.echo_replies import EchoReplies
from suites.selftest.support.loopback import LOOPBACK_ADDRESSES
from suites.selftest.support.meter_process import run_meter_process
from suites.selftest.support.payload_daemon import PayloadDaemon

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("address", LOOPBACK_ADDRESSES)
def test_wire_captures_a_connection_between_two_addresses(
    daemon: PayloadDaemon, address: str
) -> None:
    """
    A connection between the given addresses is in the result of the capture.

    Preconditions: the loopback interface; both addresses are the same.
    Expected: a connection with the port of the listener and with data.
    """
    payload = str(daemon.program)
    listen_command = (payload, "tcp", "listen", address, "0", "--seconds", "5")
    wire_command = (payload, "wire", "--here", address, "--there", address, "--markers", "00" * 16)
    with (
        subprocess.Popen(
            wire_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as wire,
        subprocess.Popen(listen_command, stdout=subprocess.PIPE, text=True) as listener,
    ):
        assert wire.stdin is not None
        assert wire.stdout is not None
        assert listener.stdout is not None
        assert wire.stdout.readline() == "ready\n"
        port = listener.stdout.readline().split()[1]
        assert daemon.run_subcommand("tcp", "connect", address, port).returncode == 0
        wire.stdin.write("stop\n")
        wire.stdin.flush()
        capture = json.loads(wire.stdout.readline())

    connections = [
        connection
        for connection in capture["connections"]
        if int(port) in {connection["local_port"], connection["remote_port"]}
    ]
    assert connections
    assert all(connection["bytes"] > 0 for connection in connections)


@pytest.mark.parametrize("address", LOOPBACK_ADDRESSES)
def test_answers_counts_the_echo_replies_of_the_gap_meter(program: Path, address: str) -> None:
    """
    The command `answers` records the time of each echo reply that the gap meter receives.

    Preconditions: the capture runs on the loopback interface. The capture starts before the gap
    meter and ends after the gap meter.
    Expected: the capture recorded at least as many echo replies as the gap meter received. The
    capture missed no echo reply.
    """
    with subprocess.Popen(
        (str(program), "answers", "--interface", "lo"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as capture:
        assert capture.stdin is not None
        assert capture.stdout is not None
        assert capture.stdout.readline() == "ready\n"
        with run_meter_process(
            str(program), "watch", "--address", address, "--no-session"
        ) as meter:
            meter.read_until("p")
            meter.send_command("stop")
            reply_count = int(meter.read_until("end")[2])
        capture.stdin.write("stop\n")
        capture.stdin.flush()
        replies = EchoReplies()
        replies.parse_lines(capture.stdout)

    assert len(replies.times_us) >= reply_count > 0
