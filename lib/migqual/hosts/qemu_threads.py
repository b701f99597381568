"""List, pin, freeze and measure the threads of a QEMU process.

libvirt starts QEMU with `debug-threads=on`, so each thread has a name. The names differ between
QEMU releases, and a name may contain blanks and slashes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host

VCPU_PATTERN = re.compile(r"^CPU \d+")
MIGRATION_PATTERN = re.compile(r"^(live_migration|migration|multifdsend|multifdrecv|mig/)")
_MULTIFD_SENDER_PATTERN = re.compile(r"^(multifdsend_\d|mig/src/send_\d)")
_MIGRATION_MAIN_PATTERN = re.compile(r"^(live_migration|mig/src/main)$")
_LIST_SCRIPT = 'grep -sE "^(Name|Pid|Cpus_allowed_list):" /proc/"$1"/task/[0-9]*/status || true'

# Prints thread id, name, state, CPU ticks (user+system) and the kernel function in which the thread
# waits: see proc(5).
_DUMP_SCRIPT = """for task in /proc/"$1"/task/[0-9]*; do
  read -r name < "$task/comm" && sed "s/.*) //" "$task/stat" | {
    read -r state _ _ _ _ _ _ _ _ _ _ user system _
    echo "${task##*/} $name: $state $user+$system ticks, $(cat "$task/wchan")"
  }
done 2>/dev/null || true"""


@dataclass(frozen=True)
class QemuThread:
    """A thread of a QEMU process.

    Attributes:
        tid: Thread id.
        name: Name given by QEMU.
        cpus: Numbers of the host CPUs on which the thread may run.
    """

    tid: int
    name: str
    cpus: frozenset[int]

    @property
    def is_vcpu(self) -> bool:
        """Return whether the thread runs a vCPU."""
        return VCPU_PATTERN.match(self.name) is not None

    @property
    def is_multifd_sender(self) -> bool:
        """Return whether the thread sends over a multifd connection."""
        return _MULTIFD_SENDER_PATTERN.match(self.name) is not None

    @property
    def is_migration_main(self) -> bool:
        """Return whether the thread controls a migration at the source."""
        return _MIGRATION_MAIN_PATTERN.match(self.name) is not None

    @property
    def is_migration(self) -> bool:
        """Return whether the thread works for a migration, at the source or the destination."""
        return MIGRATION_PATTERN.match(self.name) is not None


@dataclass
class CpuTime:
    """The CPU time of a process in seconds.

    Attributes:
        process_s: CPU time of the process, including ended threads.
        thread_s: CPU time of each thread; the key is ``NAME TID``.
    """

    process_s: float = 0.0
    thread_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def non_vcpu_s(self) -> float:
        """Return the CPU time of the process in seconds, without the vCPU threads of QEMU."""
        vcpus_s = sum(
            seconds for name, seconds in self.thread_s.items() if VCPU_PATTERN.match(name)
        )
        return self.process_s - vcpus_s


def find_qemu_pid_on(guest: Guest, host: Host) -> int | None:
    """Find the id of the guest's QEMU process on `host`; return None without a process."""
    return next(iter(host.list_qemu_pids(guest.name)), None)


def find_qemu_pid(guest: Guest) -> int:
    """Find the id of the guest's QEMU process on the current host.

    Raises:
        InconclusiveError: The host has no QEMU process of the guest.
    """
    pid = find_qemu_pid_on(guest, guest.host)
    if pid is None:
        raise InconclusiveError(f"{guest.name} has no QEMU process on {guest.host.name}")
    return pid


def list_threads(host: Host, pid: int) -> list[QemuThread]:
    """List the current threads of a process; empty when the process has ended."""
    return parse_threads(host.shell.run("sh", "-c", _LIST_SCRIPT, "sh", str(pid)).stdout)


def dump_threads(host: Host, pid: int) -> str:
    """Dump the current state of the threads of a process as text, a line for each thread.

    A line has thread id, name, state, CPU ticks (user and system) and wait channel.
    """
    return host.shell.run("sh", "-c", _DUMP_SCRIPT, "sh", str(pid)).stdout


def count_threads_by_name(host: Host, guest_name: str) -> Counter[str]:
    """Count the current threads of the guest's QEMU process on `host`, by thread name.

    Raises:
        InconclusiveError: The host has no QEMU process of the guest.
    """
    pids = host.list_qemu_pids(guest_name)
    if not pids:
        raise InconclusiveError(f"no QEMU process of {guest_name} on {host.name}")
    return Counter(thread.name for pid in pids for thread in list_threads(host, pid))


def parse_threads(status_lines: str) -> list[QemuThread]:
    """Parse threads from lines of /proc/PID/task/TID/status; the function reads no file."""
    threads: list[QemuThread] = []
    name, tid = "", 0
    for line in status_lines.splitlines():
        key, value = _split_status_line(line)
        if key == "Name":
            name = value
        elif key == "Pid":
            tid = int(value)
        elif key == "Cpus_allowed_list":
            threads.append(QemuThread(tid, name, parse_cpu_list(value)))
    return threads


def _split_status_line(line: str) -> tuple[str, str]:
    """Split a line of grep's output into key and value, without the file name."""
    key, _, value = line.rpartition("status:")[2].partition(":")
    return key, value.strip()


def parse_cpu_list(cpu_list: str) -> frozenset[int]:
    """Parse a CPU list such as ``0-2,5`` into CPU numbers."""
    cpu_numbers: set[int] = set()
    for cpu_range in cpu_list.split(","):
        first, _, last = cpu_range.partition("-")
        cpu_numbers |= set(range(int(first), int(last or first) + 1))
    return frozenset(cpu_numbers)


def pin_threads(host: Host, threads: list[QemuThread], cpus: frozenset[int]) -> None:
    """Pin threads to host CPUs, and skip threads that have ended.

    Args:
        host: The host of the process.
        threads: Threads to pin.
        cpus: Numbers of the host CPUs.

    Raises:
        HostError: The host refuses the new CPU affinity.
    """
    cpu_list = ",".join(str(cpu) for cpu in sorted(cpus))
    for thread in threads:
        result = host.shell.run_unchecked("taskset", "-pc", cpu_list, str(thread.tid))
        if result.status != 0 and "No such process" not in result.stderr:
            raise HostError(
                host.name,
                f"cannot pin the thread {thread.name} to CPUs {cpu_list}: {result.stderr.strip()}",
            )


@contextmanager
def freeze_thread(host: Host, payload: PurePosixPath | str, thread: QemuThread) -> Iterator[None]:
    """Use ptrace(2) to freeze one thread of a process during the `with` block.

    The other threads continue. After the block the frozen thread continues too, also when the
    block or the connection fails.

    Args:
        host: The host of the process.
        payload: Path of the payload (migqual's program) on the host.
        thread: The thread to freeze.

    Raises:
        HostError: The payload cannot freeze the thread.
    """
    with host.shell.start(payload, "freeze", "--tid", str(thread.tid)) as process:
        if (reply := process.read_first_line()) != "frozen":
            raise HostError(
                host.name,
                f"migqual-payload cannot freeze the QEMU thread {thread.name} with ptrace: {reply}",
            )
        yield
        process.send_line("go")


@contextmanager
def measure_cpu_time(
    host: Host, payload: PurePosixPath, pid: int, *options: str
) -> Iterator[CpuTime]:
    """Measure the CPU time of a process during the `with` block, or until the process ends.

    Args:
        host: The host of the process.
        payload: Path of the payload (migqual's program) on the host.
        pid: Process id.
        *options: Options of the payload command `threads`, for example `--whole-life`.

    Yields:
        The CPU time. The values are 0 until the end of the block.

    Raises:
        HostError: The process does not exist, or the payload ends without a result.
    """
    cpu_time = CpuTime()
    with host.shell.start(payload, "threads", "--pid", str(pid), *options) as process:
        lines = iter(process)
        if next(lines, "").strip() != "ready":
            raise HostError(host.name, f"cannot measure CPU time: no process {pid}")
        yield cpu_time
        process.send_line("stop")
        report = json.loads(next(lines, "{}"))
    if not report:
        raise HostError(
            host.name, f"cannot measure CPU time: migqual-payload sent no result for process {pid}"
        )
    cpu_time.process_s = float(report["cpu_s"])
    cpu_time.thread_s = {f"{row['name']} {row['tid']}": row["cpu_s"] for row in report["threads"]}


def read_cpu_time(host: Host, payload: PurePosixPath, pid: int) -> CpuTime:
    """Read the CPU time of a process since the start of the process.

    In the result, `thread_s` contains only threads that still run.

    Args:
        host: The host of the process.
        payload: Path of the payload (migqual's program) on the host.
        pid: Process id.

    Returns:
        The CPU time in seconds.

    Raises:
        HostError: The process does not exist, or the payload ends without a result.
    """
    with measure_cpu_time(host, payload, pid, "--whole-life") as cpu_time:
        pass
    return cpu_time
