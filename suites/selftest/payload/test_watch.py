"""The gap meter's probes, session and marks; the TCP probe and the layer 2 probe."""

import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from suites.selftest.support.loopback import LOOPBACK_ADDRESSES
from suites.selftest.support.meter_process import MeterProcess, run_meter_process
from suites.selftest.support.payload_daemon import PayloadDaemon, run_payload_daemon

pytestmark = pytest.mark.selftest
NS_PER_MS = 1_000_000


@pytest.fixture
def meter(daemon: PayloadDaemon, request: pytest.FixtureRequest) -> Iterator[MeterProcess]:
    """Yield a running gap meter, which sends probes to the payload daemon and prints the replies.

    The parameter of the fixture is the IP address of the daemon, by default 127.0.0.1.
    """
    address = getattr(request, "param", "127.0.0.1")
    argv = (str(daemon.program), "watch", "--address", address, "--port", str(daemon.port))
    with run_meter_process(*argv) as meter_process:
        yield meter_process


@pytest.mark.parametrize("meter", LOOPBACK_ADDRESSES, indirect=True)
def test_gap_meter_writes_probes_session_and_marks(
    meter: MeterProcess, daemon: PayloadDaemon
) -> None:
    """
    The gap meter writes a line for each answered probe, for each reply in the TCP session, and for
    each mark (a name for the current time).

    Expected: exactly one line contains the boot id of the machine. No reply is earlier than its
    probe. The last line counts the sent probes and the answered probes. The count of answered
    probes is equal to the number of probe lines. The exit status is 0.
    """
    meter.read_until("s")
    meter.send_command("mark here")
    meter.read_until("m")
    Deadline(1).pause(0.2)
    meter.send_command("stop")
    end_line = meter.read_until("end")

    assert meter.process.wait(timeout=5) == 0
    assert meter.select_lines("m")[0][1] == "here"
    assert meter.select_lines("b") == [["b", daemon.run_command("status")["boot_id"]]]
    probes = [
        (int(sequence), int(sent_ns), int(received_ns))
        for _, sequence, sent_ns, received_ns in meter.select_lines("p")
    ]
    assert all(sent_ns <= received_ns for _, sent_ns, received_ns in probes)
    assert len({sequence for sequence, _, _ in probes}) == len(probes) == int(end_line[2])
    assert int(end_line[1]) >= len(probes) > 50
    assert all(len(line) == 7 for line in meter.select_lines("s"))


def test_probe_interval_does_not_drift(meter: MeterProcess) -> None:
    """
    Probes go out every 2 ms by the clock, not 2 ms after the end of the previous probe.

    Expected: over half a second, the mean interval differs from 2 ms by at most 10 %.
    """
    meter.read_until("p")
    Deadline(2).pause(0.6)
    meter.send_command("stop")
    meter.read_until("end")
    sent_times_ns = [int(line[2]) for line in meter.select_lines("p")]
    interval_count = round((sent_times_ns[-1] - sent_times_ns[0]) / (2 * NS_PER_MS))
    assert len(sent_times_ns) == pytest.approx(interval_count + 1, rel=0.1)


def test_probe_interval_changes_while_the_gap_meter_runs(meter: MeterProcess) -> None:
    """
    The command `pace` immediately changes the interval between two probes, and the interval
    between two requests in the TCP session.

    Preconditions: the gap meter starts with a probe interval of 2 ms. The test changes the interval
    to 50 ms, and later back to 2 ms.
    Expected: for each probe interval, the gap meter writes a line with the interval and its start
    time. At 50 ms the gap meter sends few probes. After the change back to 2 ms, the gap meter
    sends the next probe immediately, and many probes follow.
    """
    meter.read_until("p")
    meter.send_command("pace 50000 500")
    slow_line = meter.read_until("r")
    Deadline(2).pause(0.5)
    meter.send_command("pace 2000 20")
    fast_line = meter.read_until("r")
    Deadline(2).pause(0.2)
    meter.send_command("stop")
    meter.read_until("end")

    slow_from_ns, fast_from_ns = int(slow_line[2]), int(fast_line[2])
    sent_times_ns = [int(line[2]) for line in meter.select_lines("p")]
    assert [int(line[1]) for line in meter.select_lines("r")] == [
        2 * NS_PER_MS,
        50 * NS_PER_MS,
        2 * NS_PER_MS,
    ]
    assert 5 <= sum(slow_from_ns < sent_ns < fast_from_ns for sent_ns in sent_times_ns) <= 12
    later_times_ns = [sent_ns for sent_ns in sent_times_ns if sent_ns >= fast_from_ns]
    assert later_times_ns[0] - fast_from_ns < 40 * NS_PER_MS
    assert len(later_times_ns) > 50


def test_invalid_probe_interval_is_ignored(meter: MeterProcess) -> None:
    """The gap meter prints an error for an invalid `pace` command, and keeps the interval."""
    meter.read_until("p")
    for command in ("pace", "pace 2000", "pace 1 20", "pace 2000 0", "pace x y"):
        meter.send_command(command)
    meter.send_command("stop")
    meter.read_until("end")

    assert [line[1] for line in meter.select_lines("r")] == [str(2 * NS_PER_MS)]


def test_stopped_guest_stalls_the_session(meter: MeterProcess, daemon: PayloadDaemon) -> None:
    """
    A TCP session without a reply for 300 ms is late, not broken.

    Preconditions: a signal stops the daemon for 300 ms, as a hypervisor stops a guest.
    Expected: a pause of 300 ms between two replies. The gap meter reports no broken session.
    """
    meter.read_until("s")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        Deadline(1).pause(0.3)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    Deadline(1).pause(0.2)
    meter.send_command("stop")
    meter.read_until("end")

    reply_times_ns = [int(line[3]) for line in meter.select_lines("s")]
    longest_stall_ns = max(after - before for before, after in itertools.pairwise(reply_times_ns))
    assert longest_stall_ns >= 290 * NS_PER_MS
    assert not meter.select_lines("e")


def test_session_outlives_a_client_that_reads_late(daemon: PayloadDaemon) -> None:
    """
    The payload daemon keeps the TCP session of a client that does not read its replies.

    Preconditions: a client with a small receive buffer sends 100,000 requests and reads nothing, as
    after a long time without a network. The replies fill the send buffer of the daemon.
    Expected: when the client reads, it gets a reply to each request, in order.
    """
    numbers = range(100_000)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", daemon.port))
        requests = "".join(f"{number}\n" for number in numbers).encode()
        with ThreadPoolExecutor(1) as executor:
            sent = executor.submit(client.sendall, requests)
            Deadline(1).pause(0.3)
            with client.makefile() as replies:
                lines = list(itertools.islice(replies, len(numbers)))
            sent.result()

    assert [int(line.split()[0]) for line in lines] == list(numbers)


def test_broken_session_is_reported_once_and_probes_continue(
    meter: MeterProcess, daemon: PayloadDaemon
) -> None:
    """
    After the TCP session breaks, the gap meter opens no new connection, and still sends probes.

    Preconditions: a signal ends the daemon.
    Expected: the gap meter writes a single `e` line (an error), then lines about further probes.
    """
    meter.read_until("s")
    os.kill(daemon.pid, signal.SIGKILL)
    error_line = meter.read_until("e")
    meter.read_until("p")
    meter.send_command("stop")
    meter.read_until("end")
    assert error_line[1] == "session"
    assert len(error_line) == 4
    assert len(meter.select_lines("e")) == 1


def test_session_starts_when_the_guest_is_up(program: Path, tmp_path: Path) -> None:
    """
    The gap meter can start before the payload daemon of the guest.

    Expected: at first only the guest's kernel replies, to the probes (ICMP echo requests). As soon
    as the payload daemon listens, the gap meter also gets replies in the TCP session.
    """
    with run_payload_daemon(program, tmp_path) as first_daemon:
        port = first_daemon.port
    argv = (str(program), "watch", "--address", "127.0.0.1", "--port", str(port))
    with run_meter_process(*argv) as meter:
        meter.read_until("p")
        serve_command = [
            str(program),
            "serve",
            "--port",
            str(port),
            "--socket",
            str(tmp_path / "t"),
        ]
        with subprocess.Popen(serve_command, stdout=subprocess.DEVNULL) as daemon:
            meter.read_until("s")
            meter.send_command("stop")
            meter.read_until("end")
            daemon.kill()


@pytest.mark.parametrize("address", LOOPBACK_ADDRESSES)
def test_tcp_probe_needs_a_listener(daemon: PayloadDaemon, address: str) -> None:
    """
    The TCP probe passes only if a listener accepts the connection of the client.

    Expected: with a listener, a token goes from the client to the listener and back; client and
    listener exit with status 0. Without a listener, the client prints why the connection failed,
    and exits with status 3.
    """
    argv = [str(daemon.program), "tcp", "listen", address, "0", "--seconds", "5"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        _, port = listener.stdout.readline().split()
        success_result = daemon.run_subcommand("tcp", "connect", address, port, "--seconds", "5")
        assert (success_result.returncode, success_result.stdout) == (0, "passed\n")
        assert listener.wait(timeout=5) == 0
    refused_result = daemon.run_subcommand("tcp", "connect", address, port, "--seconds", "1")
    assert (refused_result.returncode, refused_result.stdout) == (3, "Connection refused\n")


def test_l2_frame_reaches_only_the_matching_listener(daemon: PayloadDaemon) -> None:
    """
    A broadcast frame with a token reaches the listener for the token and no other listener.

    Preconditions: the loopback interface, a network segment of a single machine.
    Expected: the listener for the sent token exits with status 0, the listener for another token
    with status 3.
    """
    listen_command = [str(daemon.program), "l2", "listen", "lo"]
    with (
        subprocess.Popen(
            [*listen_command, "ours"], stdout=subprocess.PIPE, text=True
        ) as matching_listener,
        subprocess.Popen(
            [*listen_command, "other", "--seconds", "1"], stdout=subprocess.PIPE, text=True
        ) as other_listener,
    ):
        for listener in (matching_listener, other_listener):
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
        assert daemon.run_subcommand("l2", "send", "lo", "ours").returncode == 0
        assert matching_listener.wait(timeout=6) == 0
        assert other_listener.wait(timeout=6) == 3
