"""The payload command `threads` measures the CPU time of the threads of a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.hosts.qemu_threads import QemuThread, parse_cpu_list, parse_threads

pytestmark = pytest.mark.selftest

BUSY_PROGRAM = """\
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


def test_cpu_time_includes_ended_threads(program: Path) -> None:
    """The CPU time of a process includes the CPU time of ended threads."""
    argv = [sys.executable, "-c", BUSY_PROGRAM]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, text=True) as busy_process:
        command = [str(program), "threads", "--pid", str(busy_process.pid)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as payload_process:
            assert busy_process.stdin is not None
            assert payload_process.stdout is not None
            assert payload_process.stdout.readline() == "ready\n"
            busy_process.stdin.write("go\nend\n")
            busy_process.stdin.flush()
            busy_process.wait(30)
            cpu_times = json.loads(payload_process.stdout.readline())

    assert 0.3 <= cpu_times["cpu_s"] < 3
    assert sum(row["cpu_s"] for row in cpu_times["threads"]) <= cpu_times["cpu_s"] + 0.05


def test_threads_of_missing_process_fails(program: Path) -> None:
    """A missing process is an error, not an empty reply."""
    result = subprocess.run(
        [program, "threads", "--pid", "2147483647"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "no process" in result.stderr


def test_parse_threads_from_proc_status() -> None:
    """Thread names with blanks and slashes, and lists of CPUs, are parsed."""
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

    threads = parse_threads(text)

    assert threads == [
        QemuThread(7, "qemu-system-x86", frozenset({0, 1, 2, 5})),
        QemuThread(9, "CPU 0/TCG", frozenset({1})),
        QemuThread(11, "mig/src/send_0", frozenset({0})),
    ]
    assert [thread.is_vcpu for thread in threads] == [False, True, False]
    assert [thread.is_migration for thread in threads] == [False, False, True]
    assert parse_cpu_list("3") == {3}


@pytest.mark.parametrize(
    "name", ["live_migration", "multifdsend_3", "multifdrecv_0", "mig/dst/recv_1"]
)
def test_migration_threads_are_recognized_by_name(name: str) -> None:
    """The releases of QEMU use different names for migration threads."""
    assert QemuThread(1, name, frozenset()).is_migration
