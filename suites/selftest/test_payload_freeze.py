"""The program that lets one thread of a process stand still."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migqual.deadline import Deadline

pytestmark = pytest.mark.selftest

PATIENCE_SECONDS = 20.0
ENOUGH_TICKS = 20  # of CPU time: by then a thread is where it is meant to be
# Two threads at work. The second needs no lock of the interpreter: the first must not wait for it.
WORKERS = """\
import hashlib, threading
work = lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
other = threading.Thread(target=work, daemon=True)
other.start()
print(other.native_id, flush=True)
while True: pass
"""


@dataclass(frozen=True)
class Workers:
    """The main thread of a process and a second one."""

    first: int
    second: int

    def ticks(self, thread: int) -> int:
        """CPU time it has used (proc(5): utime and stime)."""
        fields = (
            Path(f"/proc/{self.first}/task/{thread}/stat").read_text().rpartition(")")[2].split()
        )
        return int(fields[11]) + int(fields[12])

    def work(self, *which: int) -> None:
        """Wait until those threads have worked for a while from now."""
        wanted = {thread: self.ticks(thread) + ENOUGH_TICKS for thread in which}
        Deadline(PATIENCE_SECONDS).wait_for(
            "the threads to work",
            lambda: all(self.ticks(thread) >= ticks for thread, ticks in wanted.items()),
        )


@pytest.fixture
def workers() -> Iterator[Workers]:
    argv = [sys.executable, "-c", WORKERS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Workers(process.pid, int(process.stdout.readline()))
        process.kill()


def test_one_thread_stands_still_and_goes_on(program: Path, workers: Workers) -> None:
    """The frozen one does nothing while the other works; afterwards both do."""
    workers.work(workers.first, workers.second)
    argv = [str(program), "freeze", "--tid", str(workers.second)]

    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "frozen\n"
        before = workers.ticks(workers.second)
        workers.work(workers.first)
        assert workers.ticks(workers.second) == before
        process.stdin.write("go\n")

    assert process.returncode == 0
    workers.work(workers.first, workers.second)


def test_a_thread_that_is_not_there_is_told(program: Path) -> None:
    argv = [str(program), "freeze", "--tid", "2147483646"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "2147483646" in done.stderr
