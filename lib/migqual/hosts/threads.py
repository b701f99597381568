"""The threads of a QEMU process: which they are, where they may run, what they cost.

QEMU names them (debug-threads, which libvirt turns on); its releases name them differently, and a
name may hold blanks and slashes.
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

VCPU = re.compile(r"^CPU \d+")
MIGRATION = re.compile(r"^(live_migration|migration|multifdsend|multifdrecv|mig/)")
_SENDING = re.compile(r"^(multifdsend_\d|mig/src/send_\d)")
_LEADING = re.compile(r"^(live_migration|mig/src/main)$")
_LIST = 'grep -sE "^(Name|Pid|Cpus_allowed_list):" /proc/"$1"/task/[0-9]*/status || true'

# name, state, ticks of CPU time (user, system), and what it waits for in the kernel: proc(5)
_TELL = """for task in /proc/"$1"/task/[0-9]*; do
  read -r name < "$task/comm" && sed "s/.*) //" "$task/stat" | {
    read -r state _ _ _ _ _ _ _ _ _ _ user system _
    echo "${task##*/} $name: $state $user+$system ticks, $(cat "$task/wchan")"
  }
done 2>/dev/null || true"""


@dataclass(frozen=True)
class Thread:
    """One thread. cpus: those it may run on."""

    tid: int
    name: str
    cpus: frozenset[int]

    @property
    def is_vcpu(self) -> bool:
        return VCPU.match(self.name) is not None

    @property
    def sends(self) -> bool:
        """Over one of several parallel connections."""
        return _SENDING.match(self.name) is not None

    @property
    def leads(self) -> bool:
        """Directs a migration at its source."""
        return _LEADING.match(self.name) is not None

    @property
    def migrates(self) -> bool:
        return MIGRATION.match(self.name) is not None


@dataclass
class Cost:
    """CPU time in s, of the process and by thread; complete once the block has ended.

    The process's includes that of threads which have ended.
    """

    process_s: float = 0.0
    by_thread: Mapping[str, float] = field(default_factory=dict)

    @property
    def besides_vcpus_s(self) -> float:
        """What QEMU used beside running the guest."""
        vcpus_s = sum(s for name, s in self.by_thread.items() if VCPU.match(name))
        return self.process_s - vcpus_s


def process_of(guest: Guest, host: Host) -> int | None:
    """The id of the QEMU process of the guest on `host`; None when there is none (yet)."""
    return next(iter(host.processes_of(guest.name)), None)


def running(guest: Guest) -> int:
    """The id of the guest's QEMU process where it runs now. Raises `InconclusiveError` without."""
    found = process_of(guest, guest.host)
    if found is None:
        raise InconclusiveError(f"{guest.name} has no process on {guest.host.name}")
    return found


def of(host: Host, pid: int) -> list[Thread]:
    """The threads of a process now; none when it has ended."""
    return parsed(host.shell.run("sh", "-c", _LIST, "sh", str(pid)).stdout)


def told(host: Host, pid: int) -> str:
    """What each thread of a process does now, a line for each; for people to read."""
    return host.shell.run("sh", "-c", _TELL, "sh", str(pid)).stdout


def names(host: Host, guest: str) -> Counter[str]:
    """How many threads of each name the guest's process has on `host` right now.

    Raises `InconclusiveError` when no process of the guest is there.
    """
    pids = host.processes_of(guest)
    if not pids:
        raise InconclusiveError(f"no process of {guest} on {host.name}")
    return Counter(thread.name for pid in pids for thread in of(host, pid))


def parsed(text: str) -> list[Thread]:
    """Pure: threads from the lines of their status files."""
    found: list[Thread] = []
    name, tid = "", 0
    for line in text.splitlines():
        key, value = _field(line)
        if key == "Name":
            name = value
        elif key == "Pid":
            tid = int(value)
        elif key == "Cpus_allowed_list":
            found.append(Thread(tid, name, cpus(value)))
    return found


def _field(line: str) -> tuple[str, str]:
    """grep puts the file before the line."""
    key, _, value = line.rpartition("status:")[2].partition(":")
    return key, value.strip()


def cpus(text: str) -> frozenset[int]:
    """Pure: ``0-2,5`` as numbers."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def pin(host: Host, threads: list[Thread], onto: frozenset[int]) -> None:
    """Let each of `threads` run on those CPUs only. Those that have ended meanwhile are left out.

    Raises `HostError` when the host does not allow it.
    """
    listed = ",".join(str(cpu) for cpu in sorted(onto))
    for thread in threads:
        done = host.shell.attempt("taskset", "-pc", listed, str(thread.tid))
        if done.status != 0 and "No such process" not in done.stderr:
            raise HostError(host.name, f"{thread.name}: {done.stderr.strip()}")


@contextmanager
def frozen(host: Host, payload: PurePosixPath | str, thread: Thread) -> Iterator[None]:
    """The thread stands still in the block, the others of its process go on (ptrace(2)). It goes on
    afterwards, also when the block or the connection breaks. Raises `HostError` without it."""
    with host.shell.start(payload, "freeze", "--tid", str(thread.tid)) as process:
        if (said := next(iter(process), "").strip()) != "frozen":
            raise HostError(host.name, f"cannot freeze {thread.name}: {said}")
        yield
        process.send("go")


@contextmanager
def accounted(host: Host, payload: PurePosixPath, pid: int, *flags: str) -> Iterator[Cost]:
    """CPU time that the threads of a process use in the block, or until the process ends."""
    cost = Cost()
    with host.shell.start(payload, "threads", "--pid", str(pid), *flags) as process:
        lines = iter(process)
        if next(lines, "").strip() != "ready":
            raise HostError(host.name, f"no process {pid} to watch")
        yield cost
        process.send("stop")
        found = json.loads(next(lines, "{}"))
    if not found:
        raise HostError(host.name, f"process {pid} could not be watched to its end")
    cost.process_s = float(found["cpu_s"])
    cost.by_thread = {f"{row['name']} {row['tid']}": row["cpu_s"] for row in found["threads"]}


def used(host: Host, payload: PurePosixPath, pid: int) -> Cost:
    """CPU time that the threads of a process, as far as they live, have used since it began."""
    with accounted(host, payload, pid, "--whole-life") as cost:
        pass
    return cost
