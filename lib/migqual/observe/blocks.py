"""Copied disks, checked from outside: block for block when the guest arrives, and afterwards that
nobody touches the image that stayed behind.

The source serves its image read-only over NBD, and `qemu-img compare` at the destination reads both
to the end: https://www.qemu.org/docs/master/tools/qemu-img.html
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from migqual.deadline import Deadline
from migqual.errors import CommandFailed, HostError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.model.inventory import bracketed
from migqual.model.outcome import Outcome
from migqual.preflight import definition
from migqual.preflight.definition import Disk

# the upper half of the ports that libvirt takes for migrations, which hosts open to each other
_PORTS = range(49184, 49216)
_TRIES = 8
_COMPARE_SECONDS = 3600.0
_SAME, _DIFFERENT = 0, 1


@dataclass(frozen=True)
class Copied:
    """A disk that was copied, where it was and where it is.

    seal  size and times of the old image when the guest arrived: a write would change them
    """

    source: Host
    old: Disk
    destination: Host
    new: Disk
    seal: str

    @property
    def target(self) -> str:
        return self.old.target


def disks(guest: Guest) -> dict[str, Disk]:
    """The disks of the guest as its host has them now, by target."""
    found = definition.read(guest.domain.live_xml()).disks
    return {disk.target: disk for disk in found if disk.source}


def copied(guest: Guest, source: Host, before: dict[str, Disk], outcome: Outcome) -> list[Copied]:
    """The disks that `outcome` copied, as they are right after it."""
    after = disks(guest)
    named = outcome.plan.migrate_disks
    chosen = [disk for name, disk in before.items() if (name in named if named else disk.own)]
    return [
        Copied(source, disk, guest.host, after[disk.target], _seal(source, disk)) for disk in chosen
    ]


def differences(journal: Journal, found: Sequence[Copied]) -> list[str]:
    """What differs between old and new images, in words. The guest must not run meanwhile."""
    return [words for one in found if (words := _difference(journal, one))]


def touched(found: Sequence[Copied]) -> list[str]:
    """What is wrong with the images that stayed behind: opened by somebody, or written to."""
    out = []
    for one in found:
        if _seal(one.source, one.old) != one.seal:
            out.append(f"{one.target}: {one.source.name}:{one.old.source} was written after it")
        if users := _users(one.source, one.old.source):
            out.append(f"{one.target}: {one.source.name}:{one.old.source} is open in {users}")
    return out


def _difference(journal: Journal, one: Copied) -> str:
    with _served(journal, one.source, one.old) as uri:
        done = one.destination.shell.attempt(
            *("qemu-img", "compare", "-U", "-f", "raw", "-F", one.new.format, uri, one.new.source),
            seconds=_COMPARE_SECONDS,
        )
    if done.status == _SAME:
        return ""
    words = " ".join((done.stdout + done.stderr).split())
    if done.status == _DIFFERENT:
        return f"{one.target}: the copy differs from the original: {words}"
    raise HostError(one.destination.name, f"qemu-img compare of {one.target}: {words}")


@contextmanager
def _served(journal: Journal, host: Host, disk: Disk) -> Iterator[str]:
    """The image at `disk.source` of `host` as an NBD export, read-only; its URI."""
    name = secrets.token_hex(8)
    pid_file = f"/run/mq-compare-{name}.pid"
    undo = [("pkill", "-F", pid_file), ("rm", "-f", "--", pid_file)]
    made = journal.record(host.name, "nbd export", name, undo)
    address = host.entry.migration_address or host.entry.address
    argv = (
        *("qemu-nbd", "--fork", "--read-only", "--persistent", f"--format={disk.format}"),
        *(f"--pid-file={pid_file}", f"--export-name={name}", f"--bind={address}"),
    )
    try:
        port = _start(host, argv, disk.source)
        yield f"nbd://{bracketed(address)}:{port}/{name}"
    finally:
        for words in undo:
            host.shell.attempt(*words)
        journal.removed(made)


def _start(host: Host, argv: tuple[str, ...], image: str) -> int:
    for _ in range(_TRIES):
        port = secrets.choice(_PORTS)
        done = host.shell.attempt(*argv, f"--port={port}", image)
        if done.status == 0:
            return port
        if "in use" not in done.stderr:
            break
    raise CommandFailed(host.name, done.argv, done.status, done.stdout, done.stderr)


def _seal(host: Host, disk: Disk) -> str:
    return host.shell.run("stat", "-L", "-c", "%s %y %z", disk.source).stdout.strip()


def _users(host: Host, path: str) -> str:
    """Processes that have the file open; those that end just now get a moment."""
    argv = ("find", "/proc", "-maxdepth", "3", "-path", "/proc/[0-9]*/fd/*", "-lname", path)
    deadline = Deadline(2.0)
    while True:
        found = host.shell.attempt(*argv).stdout.split()
        if not found or deadline.passed:
            return ", ".join(sorted({line.split("/")[2] for line in found}))
        deadline.pause(0.1)
