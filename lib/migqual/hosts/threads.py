"""Threads of a guest's QEMU, by name.

Stock QEMU tells nobody the ids of its migration threads; the kernel knows their names.
"""

from collections import Counter

from migqual.errors import InconclusiveError
from migqual.hosts.host import Host


def names(host: Host, guest: str) -> Counter[str]:
    """How many threads of each name the guest's process has on `host` right now.

    A thread that ends while they are read is left out. Raises `InconclusiveError` when no process
    of the guest is there.
    """
    found: Counter[str] = Counter()
    pids = host.processes_of(guest)
    if not pids:
        raise InconclusiveError(f"no process of {guest} on {host.name}")
    for pid in pids:
        argv = ("find", f"/proc/{pid}/task", "-maxdepth", "2", "-name", "comm")
        told = host.shell.attempt(*argv, "-exec", "cat", "{}", "+").stdout
        found.update(told.splitlines())  # a name may contain spaces
    return found
