"""Split brain: at most one copy of a guest runs, at any time."""

import re
from pathlib import PurePosixPath

from migqual.hosts.guest import Guest
from migqual.hosts.host import Host

RUNNING = {"running", "blocked"}
LAST = 3  # lines of QEMU's log
SAID = re.compile(r"\d{4}-\d\d-\d\d|qemu")  # not the words of its command line


def complaints(guest: Guest, hosts: tuple[Host, ...], *, awaited: bool = False) -> list[str]:
    """What is wrong with the copies now: the guest must run on `guest.host` and nowhere else, and
    no other host may hold a process of it (a second writer), unless a migration that goes on still
    sends to it (`awaited`)."""
    states = guest.live_copies(hosts)
    found = []
    if states.get(guest.host.name) not in RUNNING:
        here = states.get(guest.host.name, "gone")
        words = f"{guest.name} is {here} on {guest.host.name}, where it should run"
        log = PurePosixPath(guest.console).with_suffix(".log")
        told = last_words(guest.host.shell.attempt("tail", "-n", "20", log).stdout)
        found.append(f"{words}; QEMU's log ends with: {told}" if told else words)
    for host in hosts:
        if host.name == guest.host.name:
            continue
        if states.get(host.name) in RUNNING:
            found.append(f"split brain: {guest.name} also runs on {host.name}")
        if not awaited and (pids := host.processes_of(guest.name)):
            found.append(f"a process of {guest.name} stays on {host.name}: {pids}")
    return found


def last_words(log: str) -> str:
    """Pure: what QEMU, or libvirt of it, said last in its log."""
    said = [line for line in log.splitlines() if SAID.match(line) and "is tainted:" not in line]
    return " | ".join(said[-LAST:])
