"""What preflight's probes need on hosts: the payload, a journal, and leave to write."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TypeVar

from migqual.errors import GuestError, HostError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, Made
from migqual.preflight.facts import Fact, Missing

T = TypeVar("T")

_QEMU_WRITES = 101


class Probes(StrEnum):
    """What may be done to a guest to learn about it.

    WRITING    token files beside its images, questions through its monitor: guests of ours
    READ_ONLY  nothing that its owner could notice or that libvirt would mark it for
    """

    WRITING = "writing"
    READ_ONLY = "read-only"


@dataclass
class Tools:
    """payloads: path of the payload on each host, by the host's name."""

    journal: Journal
    payloads: Mapping[str, PurePosixPath]
    probes: Probes = Probes.WRITING
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def payload(self, host: Host) -> str:
        return str(self.payloads[host.name])

    def lock_seen(self, host: Host, path: PurePosixPath | str, byte: int) -> bool:
        """Whether somebody holds a lock on that byte of a file, as `host` sees it."""
        look = (self.payload(host), "lock", "look", str(path), str(byte))
        return host.shell.attempt(*look).stdout.strip() == "seen"

    def written_by_qemu(self, host: Host, path: PurePosixPath | str) -> bool:
        """Whether a QEMU has the image open for writing: it says so by a lock on a byte
        (RAW_LOCK_PERM_BASE plus the place of BLK_PERM_WRITE, in QEMU's block/file-posix.c)."""
        return self.lock_seen(host, path, _QEMU_WRITES)

    def made(self, host: Host, path: PurePosixPath) -> Made:
        """Write down a file that is about to be made."""
        with self._lock:
            undo = [("rm", "-f", "--", str(path))]
            return self.journal.record(host.name, "probe", str(path), undo)

    def removed(self, made: Made) -> None:
        with self._lock:
            self.journal.removed(made)


def token_name() -> str:
    """A name that nothing else has."""
    return f"mq-probe-{uuid.uuid4().hex[:16]}"


def had(work: Callable[[], T]) -> Fact[T]:
    """What `work` returns, or why it could not."""
    try:
        return work()
    except (HostError, GuestError) as error:
        return Missing(error.message)


@contextmanager
def staged(
    hosts: tuple[Host, ...], journal: Journal, payload: Path, probes: Probes
) -> Iterator[Tools]:
    """Tools for hosts that nobody has staged: the payload goes there and away again."""
    folder = token_name()
    made: list[tuple[Host, Made]] = []
    try:
        for host in hosts:
            host.shell.open()  # one that is away has nothing to remove
            place = host.entry.scratch / folder
            undo = [("rm", "-rf", "--", str(place))]
            made.append((host, journal.record(host.name, "folder", str(place), undo)))
            host.shell.put(payload, place / "payload", mode=0o755)
        paths = {host.name: host.entry.scratch / folder / "payload" for host in hosts}
        yield Tools(journal, paths, probes)
    finally:
        for host, entry in reversed(made):
            for argv in entry.undo:
                host.shell.run(*argv)
            journal.removed(entry)
