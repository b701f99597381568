"""The payload command `freeze` stops a single thread of a process."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migqual.deadline import Deadline

pytestmark = pytest.mark.selftest

TIMEOUT_SECONDS = 20.0
MIN_CPU_TICKS = 20  # CPU time after which a thread executes its busy loop
# Two busy threads. The second thread works without the GIL, so the first thread never waits for
# the second.
WORKER_PROGRAM = """\
import hashlib, threading
work = lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
other = threading.Thread(target=work, daemon=True)
other.start()
print(other.native_id, flush=True)
while True: pass
"""


@dataclass(frozen=True)
class WorkerThreads:
    """The main thread and the second thread of a process, both busy."""

    main_tid: int
    second_tid: int

    def read_cpu_ticks(self, tid: int) -> int:
        """Read the CPU time of a thread in clock ticks (proc(5): utime and stime)."""
        fields = (
            Path(f"/proc/{self.main_tid}/task/{tid}/stat").read_text().rpartition(")")[2].split()
        )
        return int(fields[11]) + int(fields[12])

    def wait_for_work(self, *tids: int) -> None:
        """Wait until each thread has used `MIN_CPU_TICKS` of CPU time from now on."""
        target_ticks = {tid: self.read_cpu_ticks(tid) + MIN_CPU_TICKS for tid in tids}
        Deadline(TIMEOUT_SECONDS).wait_for(
            "CPU time of the threads",
            lambda: all(self.read_cpu_ticks(tid) >= ticks for tid, ticks in target_ticks.items()),
        )


@pytest.fixture
def workers() -> Iterator[WorkerThreads]:
    argv = [sys.executable, "-c", WORKER_PROGRAM]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield WorkerThreads(process.pid, int(process.stdout.readline()))
        process.kill()


def test_frozen_thread_stops_and_continues(program: Path, workers: WorkerThreads) -> None:
    """The frozen thread stops while the other thread works; after the release both work."""
    workers.wait_for_work(workers.main_tid, workers.second_tid)
    argv = [str(program), "freeze", "--tid", str(workers.second_tid)]

    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "frozen\n"
        ticks_before = workers.read_cpu_ticks(workers.second_tid)
        workers.wait_for_work(workers.main_tid)
        assert workers.read_cpu_ticks(workers.second_tid) == ticks_before
        process.stdin.write("go\n")

    assert process.returncode == 0
    workers.wait_for_work(workers.main_tid, workers.second_tid)


def test_freeze_of_missing_thread_fails(program: Path) -> None:
    argv = [str(program), "freeze", "--tid", "2147483646"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "2147483646" in result.stderr
