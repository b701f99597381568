"""The gap meter's probes, session and marks; the probes of links and ports."""

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from suites.selftest.payload_daemon import Daemon, serving

pytestmark = pytest.mark.selftest
MS = 1_000_000


class Watch:
    """A running gap meter and the lines that it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[list[str]] = []

    def say(self, words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def until(self, first: str) -> list[str]:
        """Read up to the next line that begins with the word `first`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())
            if self.lines[-1][0] == first:
                return self.lines[-1]
        raise AssertionError(f"ended without a line {first!r}: {self.lines[-3:]}")

    def of(self, first: str) -> list[list[str]]:
        return [line for line in self.lines if line[0] == first]


@pytest.fixture
def watch(daemon: Daemon) -> Iterator[Watch]:
    argv = [str(daemon.program), "watch", "--address", "127.0.0.1", "--port", str(daemon.port)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Watch(process)
        finally:
            process.kill()


def test_probes_session_and_marks_are_written(watch: Watch, daemon: Daemon) -> None:
    """
    An answered probe, an answered session line and a mark each have their line.

    Expected: boot id of this machine; times in order; counts that match the lines; status 0.
    """
    watch.until("s")
    watch.say("mark here")
    watch.until("m")
    Deadline(1).pause(0.2)
    watch.say("stop")
    end = watch.until("end")

    assert watch.process.wait(timeout=5) == 0
    assert watch.of("m")[0][1] == "here"
    assert watch.of("b") == [["b", daemon.ask("status")["boot_id"]]]
    probes = [(int(seq), int(sent), int(got)) for _, seq, sent, got in watch.of("p")]
    assert all(sent <= got for _, sent, got in probes)
    assert len({seq for seq, _, _ in probes}) == len(probes) == int(end[2])
    assert int(end[1]) >= len(probes) > 50
    assert all(len(line) == 7 for line in watch.of("s"))


def test_probes_keep_their_times(watch: Watch) -> None:
    """
    Probes go out every 2 ms by the clock, not 2 ms after the last one was done.

    Expected: over half a second the mean interval is 2 ms within a tenth.
    """
    watch.until("p")
    Deadline(2).pause(0.6)
    watch.say("stop")
    watch.until("end")
    sent = [int(line[2]) for line in watch.of("p")]
    slots = round((sent[-1] - sent[0]) / (2 * MS))
    assert len(sent) == pytest.approx(slots + 1, rel=0.1)


def test_pace_is_changed_while_it_runs(watch: Watch) -> None:
    """
    `pace` sets both intervals from now on, and nobody waits out the longer one.

    Expected: a line tells each interval and from when; at 50 ms few probes go out; back at 2 ms the
    next probe goes out at once and many follow.
    """
    watch.until("p")
    watch.say("pace 50000 500")
    slow = watch.until("r")
    Deadline(2).pause(0.5)
    watch.say("pace 2000 20")
    fast = watch.until("r")
    Deadline(2).pause(0.2)
    watch.say("stop")
    watch.until("end")

    since, until = int(slow[2]), int(fast[2])
    sent = [int(line[2]) for line in watch.of("p")]
    assert [int(line[1]) for line in watch.of("r")] == [2 * MS, 50 * MS, 2 * MS]
    assert 5 <= sum(since < at < until for at in sent) <= 12
    after = [at for at in sent if at >= until]
    assert after[0] - until < 40 * MS
    assert len(after) > 50


def test_a_pace_that_is_none_changes_nothing(watch: Watch) -> None:
    """Nonsense is told on standard error; the meter goes on as before."""
    watch.until("p")
    for words in ("pace", "pace 2000", "pace 1 20", "pace 2000 0", "pace x y"):
        watch.say(words)
    watch.say("stop")
    watch.until("end")

    assert [line[1] for line in watch.of("r")] == [str(2 * MS)]


def test_a_stopped_guest_shows_as_a_stall_of_the_session(watch: Watch, daemon: Daemon) -> None:
    """
    A session that gets no answer for 300 ms is late, not broken.

    Preconditions: the daemon is stopped by a signal, as a guest is by its hypervisor.
    Expected: a pause of 300 ms between two answers, no break.
    """
    watch.until("s")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        Deadline(1).pause(0.3)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    Deadline(1).pause(0.2)
    watch.say("stop")
    watch.until("end")

    answers = [int(line[3]) for line in watch.of("s")]
    stall = max(after - before for before, after in itertools.pairwise(answers))
    assert stall >= 290 * MS
    assert not watch.of("e")


def test_a_broken_session_is_said_once_and_probes_go_on(watch: Watch, daemon: Daemon) -> None:
    """
    The session's end is final: one line, no new connection, probes unimpaired.

    Expected: one `e` line, then further probes.
    """
    watch.until("s")
    os.kill(daemon.pid, signal.SIGKILL)
    broken = watch.until("e")
    watch.until("p")
    watch.say("stop")
    watch.until("end")
    assert broken[1] == "session"
    assert len(broken) == 4
    assert len(watch.of("e")) == 1


def test_session_waits_for_a_guest_that_boots(program: Path, tmp_path: Path) -> None:
    """
    The gap meter may be started before the guest is there.

    Expected: probes first, and a session as soon as the daemon listens.
    """
    with serving(program, tmp_path) as first:
        port = first.port
    argv = [str(program), "watch", "--address", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        watch = Watch(process)
        watch.until("p")
        again = [str(program), "serve", "--port", str(port), "--socket", str(tmp_path / "t")]
        with subprocess.Popen(again, stdout=subprocess.DEVNULL) as daemon:
            watch.until("s")
            watch.say("stop")
            watch.until("end")
            daemon.kill()


def test_tcp_passes_where_somebody_listens(daemon: Daemon) -> None:
    """
    A token goes there and back over a new connection; without a listener there is a reason.

    Expected: both ends exit 0; then 3 with the reason.
    """
    argv = [str(daemon.program), "tcp", "listen", "127.0.0.1", "0", "--seconds", "5"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        _, port = listener.stdout.readline().split()
        passed = daemon.tool("tcp", "connect", "127.0.0.1", port, "--seconds", "5")
        assert (passed.returncode, passed.stdout) == (0, "passed\n")
        assert listener.wait(timeout=5) == 0
    refused = daemon.tool("tcp", "connect", "127.0.0.1", port, "--seconds", "1")
    assert (refused.returncode, refused.stdout) == (3, "Connection refused\n")


def test_a_frame_reaches_a_listener_on_the_same_segment(daemon: Daemon) -> None:
    """
    A broadcast frame with our token is seen by a listener for that token, and by no other.

    Preconditions: the loopback interface, which is one segment with itself.
    Expected: 0 for the token that was sent, 3 for another one.
    """
    listen = [str(daemon.program), "l2", "listen", "lo"]
    with (
        subprocess.Popen([*listen, "ours"], stdout=subprocess.PIPE, text=True) as ours,
        subprocess.Popen(
            [*listen, "other", "--seconds", "1"], stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        for listener in (ours, other):
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
        assert daemon.tool("l2", "send", "lo", "ours").returncode == 0
        assert ours.wait(timeout=6) == 0
        assert other.wait(timeout=6) == 3
