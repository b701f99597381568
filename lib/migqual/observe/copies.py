"""Split brain: at most one copy of a guest runs, at any time."""

from migqual.hosts.guest import Guest
from migqual.hosts.host import Host

RUNNING = {"running", "blocked"}


def complaints(guest: Guest, hosts: tuple[Host, ...]) -> list[str]:
    """What is wrong with the copies now: the guest must run on `guest.host` and nowhere else, and
    no other host may hold a process of it (a second writer)."""
    states = guest.live_copies(hosts)
    found = []
    if states.get(guest.host.name) not in RUNNING:
        here = states.get(guest.host.name, "gone")
        found.append(f"{guest.name} is {here} on {guest.host.name}, where it should run")
    for host in hosts:
        if host.name == guest.host.name:
            continue
        if states.get(host.name) in RUNNING:
            found.append(f"split brain: {guest.name} also runs on {host.name}")
        if pids := host.processes_of(guest.name):
            found.append(f"a process of {guest.name} stays on {host.name}: {pids}")
    return found
