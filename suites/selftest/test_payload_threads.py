"""The program that tells what the threads of a process cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.hosts.threads import Thread, cpus, parsed

pytestmark = pytest.mark.selftest

BUSY = """\
import sys, time, threading
def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
sys.stdin.readline()
thread = threading.Thread(target=work, args=(0.3,))
thread.start(); thread.join()
work(0.1)
sys.stdin.readline()
"""


def test_cost_of_a_thread_that_ended_is_in_the_whole(program: Path) -> None:
    """What a thread used is counted in the process, also once the thread has ended."""
    argv = [sys.executable, "-c", BUSY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as busy:
        watch = [str(program), "threads", "--pid", str(busy.pid)]
        with subprocess.Popen(
            watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as watching:
            assert busy.stdin is not None
            assert watching.stdout is not None
            assert watching.stdout.readline() == "ready\n"
            busy.stdin.write("go\nend\n")
            busy.stdin.flush()
            busy.wait(30)
            found = json.loads(watching.stdout.readline())

    assert 0.3 <= found["cpu_s"] < 3
    assert sum(row["cpu_s"] for row in found["threads"]) <= found["cpu_s"] + 0.05


def test_no_such_process_is_told(program: Path) -> None:
    """A process that is not there is an error, not an empty answer."""
    done = subprocess.run(
        [program, "threads", "--pid", "2147483647"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "no process" in done.stderr


def test_threads_are_read_as_the_kernel_lists_them() -> None:
    """Names with blanks and slashes, and lists of CPUs, are understood."""
    text = (
        "/proc/7/task/7/status:Name:\tqemu-system-x86\n"
        "/proc/7/task/7/status:Pid:\t7\n"
        "/proc/7/task/7/status:Cpus_allowed_list:\t0-2,5\n"
        "/proc/7/task/9/status:Name:\tCPU 0/TCG\n"
        "/proc/7/task/9/status:Pid:\t9\n"
        "/proc/7/task/9/status:Cpus_allowed_list:\t1\n"
        "/proc/7/task/11/status:Name:\tmig/src/send_0\n"
        "/proc/7/task/11/status:Pid:\t11\n"
        "/proc/7/task/11/status:Cpus_allowed_list:\t0\n"
    )

    found = parsed(text)

    assert found == [
        Thread(7, "qemu-system-x86", frozenset({0, 1, 2, 5})),
        Thread(9, "CPU 0/TCG", frozenset({1})),
        Thread(11, "mig/src/send_0", frozenset({0})),
    ]
    assert [one.is_vcpu for one in found] == [False, True, False]
    assert [one.migrates for one in found] == [False, False, True]
    assert cpus("3") == {3}


@pytest.mark.parametrize(
    "name", ["live_migration", "multifdsend_3", "multifdrecv_0", "mig/dst/recv_1"]
)
def test_migration_threads_are_known_by_every_name(name: str) -> None:
    """The releases of QEMU name them differently."""
    assert Thread(1, name, frozenset()).migrates
