"""What a guest at rest costs while it is watched: CPU time of its QEMU, the gap meter, migqual."""

import time
from dataclasses import dataclass

from migqual.bench import rig
from migqual.deadline import Deadline
from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model.guest import GuestSpec
from migqual.model.inventory import Inventory

SHORTEST_SECONDS = 5
SETTLE_SECONDS = 2.0  # the load has just been started
_USER, _SYSTEM = 11, 12  # of /proc/PID/stat behind the name: utime, stime in ticks (proc(5))


@dataclass(frozen=True)
class IdleCost:
    """Percent of one core over `seconds`. `own` is the process that watches."""

    seconds: float
    qemu: float
    meter: float
    own: float

    @property
    def total(self) -> float:
        return self.qemu + self.meter + self.own


def measure(inventory: Inventory, *, seconds: int) -> IdleCost:
    """Watch one guest at rest for so long."""
    with (
        rig.rig(inventory) as found,
        found.provision.guest(GuestSpec(), found.source, found.destination) as guest,
        found.observers(guest),
    ):
        (qemu,) = guest.host.processes_of(guest.name)
        meter = _find_meter(found.client, guest.address)
        Deadline(SETTLE_SECONDS).pause(SETTLE_SECONDS)
        began = time.monotonic()
        before = _cpu_s(guest.host, qemu), _cpu_s(found.client, meter), time.process_time()
        Deadline(float(seconds)).pause(seconds)
        after = _cpu_s(guest.host, qemu), _cpu_s(found.client, meter), time.process_time()
        elapsed = time.monotonic() - began
    shares = [100 * (end - start) / elapsed for start, end in zip(before, after, strict=True)]
    return IdleCost(elapsed, *shares)


def _find_meter(client: Host, address: str) -> int:
    pids = client.shell.run("pgrep", "-f", f"payload watch --address {address} ").stdout.split()
    if not pids:
        raise HostError(client.name, f"no gap meter of {address} runs")
    return int(pids[0])


def _cpu_s(host: Host, pid: int) -> float:
    """User and system time of a process so far."""
    ticks = int(host.shell.run("getconf", "CLK_TCK").stdout)
    fields = host.shell.run("cat", f"/proc/{pid}/stat").stdout.rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / ticks


def lines(found: IdleCost) -> list[str]:
    """What `migqual bench idle` prints; the last line is the sum."""
    rows = (("QEMU", found.qemu), ("gap meter", found.meter), ("migqual", found.own))
    return [
        f"percent of a core over {found.seconds:.0f} s, one guest at rest that is watched:",
        *(f"  {name:12}{value:6.1f}" for name, value in rows),
        f"together: {found.total:.1f} %",
    ]
