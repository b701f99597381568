"""Measure how much CPU time QEMU, the gap meter and migqual use while a guest is idle."""

import time
from dataclasses import dataclass

from migqual.deadline import Deadline
from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory
from migqual.model.guest_spec import GuestSpec
from migqual.testbed.connection import connect_testbed

MIN_SECONDS = 5
SETTLE_SECONDS = 2.0  # pause before the measurement, because the load has just started
_UTIME_FIELD, _STIME_FIELD = (
    11,
    12,
)  # positions after the process name in /proc/PID/stat; the values are in ticks (proc(5))


@dataclass(frozen=True)
class IdleCost:
    """The CPU usage for an idle guest, in percent of one CPU core.

    Attributes:
        seconds: Length of the measurement in s.
        qemu_percent: CPU usage of the guest's QEMU process on the host.
        meter_percent: CPU usage of the gap meter on the client.
        migqual_percent: CPU usage of migqual on the controller.
    """

    seconds: float
    qemu_percent: float
    meter_percent: float
    migqual_percent: float

    @property
    def total_percent(self) -> float:
        """Return the sum of the CPU usage of QEMU, gap meter and migqual."""
        return self.qemu_percent + self.meter_percent + self.migqual_percent


def measure_idle_cost(inventory: Inventory, *, seconds: int) -> IdleCost:
    """Measure for `seconds` s how much CPU QEMU, gap meter and migqual use for an idle guest."""
    with connect_testbed(inventory) as testbed:
        guest = testbed.make_guest(GuestSpec())
        (qemu_pid,) = guest.host.list_qemu_pids(guest.name)
        meter_pid = _find_meter_pid(testbed.client, guest.address)
        Deadline(SETTLE_SECONDS).pause(SETTLE_SECONDS)
        started_at = time.monotonic()
        cpu_s_before = (
            _read_cpu_time_s(guest.host, qemu_pid),
            _read_cpu_time_s(testbed.client, meter_pid),
            time.process_time(),
        )
        Deadline(float(seconds)).pause(seconds)
        cpu_s_after = (
            _read_cpu_time_s(guest.host, qemu_pid),
            _read_cpu_time_s(testbed.client, meter_pid),
            time.process_time(),
        )
        elapsed_s = time.monotonic() - started_at
    percents = [
        100 * (end_s - start_s) / elapsed_s
        for start_s, end_s in zip(cpu_s_before, cpu_s_after, strict=True)
    ]
    return IdleCost(elapsed_s, *percents)


def _find_meter_pid(client: Host, address: str) -> int:
    pids = client.shell.run("pgrep", "-f", f"payload watch --address {address} ").stdout.split()
    if not pids:
        raise HostError(
            client.name,
            f"no process of the gap meter sends probes to {address}",
        )
    return int(pids[0])


def _read_cpu_time_s(host: Host, pid: int) -> float:
    """Read how many seconds of user and system CPU time a process has used since its start."""
    ticks_per_s = int(host.shell.run("getconf", "CLK_TCK").stdout)
    stat_fields = host.shell.run("cat", f"/proc/{pid}/stat").stdout.rpartition(")")[2].split()
    return (int(stat_fields[_UTIME_FIELD]) + int(stat_fields[_STIME_FIELD])) / ticks_per_s


def format_idle_cost(cost: IdleCost) -> list[str]:
    """Format the output of `migqual bench idle`; the last line is the sum of the CPU usage."""
    rows = (
        ("QEMU", cost.qemu_percent),
        ("gap meter", cost.meter_percent),
        ("migqual", cost.migqual_percent),
    )
    return [
        f"CPU usage for one idle guest over {cost.seconds:.0f} s, in percent of one core:",
        *(f"  {name:12}{value:6.1f}" for name, value in rows),
        f"sum: {cost.total_percent:.1f} %",
    ]
