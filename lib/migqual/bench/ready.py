"""Measure the time from the definition of a guest to the first reply of the guest agent."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from migqual.bench.comparison import compute_median_ratio, format_table, run_tool
from migqual.deadline import Deadline
from migqual.errors import UsageError
from migqual.inventory.entities import Inventory
from migqual.model.guest_spec import GuestSpec
from migqual.testbed.connection import connect_testbed
from migqual.testbed.testbed import Testbed

READY_SECONDS = 60.0
GUEST_PING = '{"execute":"guest-ping"}'


@dataclass(frozen=True)
class ReadyTimes:
    """The times from the definition of a guest to the first reply of the guest agent, in s."""

    virsh_s: tuple[float, ...]
    migqual_s: tuple[float, ...]


def measure_ready_times(
    inventory: Inventory, *, rounds: int, memory_mib: int, report_progress: Callable[[str], None]
) -> ReadyTimes:
    """Boot guests with migqual and with virsh, one after the other, and measure the boot times.

    Args:
        inventory: The inventory with the pair and the client.
        rounds: Number of rounds. Each round boots a guest with migqual and a guest with virsh.
        memory_mib: Memory of the guest in MiB.
        report_progress: Function that receives a line of text after each round.
    """
    virsh_s: list[float] = []
    migqual_s: list[float] = []
    spec = GuestSpec(memory_mib=memory_mib)
    with connect_testbed(inventory) as testbed:
        _measure_migqual(testbed, spec)  # does not count: copies kernel and initramfs to the host
        for round_index in range(rounds):
            migqual_s.append(_measure_migqual(testbed, spec))
            virsh_s.append(_measure_virsh(testbed, spec))
            report_progress(
                f"round {round_index + 1:3}  time to the first reply of the guest agent: "
                f"virsh {virsh_s[-1]:.3f} s, migqual {migqual_s[-1]:.3f} s"
            )
    return ReadyTimes(tuple(virsh_s), tuple(migqual_s))


def _measure_migqual(testbed: Testbed, spec: GuestSpec) -> float:
    started_at = time.monotonic()
    guest = testbed.provisioner.boot_guest(spec, testbed.source)
    try:
        guest.wait_for_agent(Deadline(READY_SECONDS))
        return time.monotonic() - started_at
    finally:
        testbed.provisioner.remove_guest(guest)


def _measure_virsh(testbed: Testbed, spec: GuestSpec) -> float:
    """Return the seconds from `virsh define` to the first reply of the guest agent."""
    guest = testbed.provisioner.boot_guest(
        spec, testbed.source
    )  # from here on, the journal contains the guest, so that a sweep can remove the guest
    try:
        virsh_argv = ("virsh", "--quiet", "-c", testbed.source.libvirt.uri)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "guest.xml"
            file.write_text(guest.domain.read_migratable_xml())
            guest.domain.destroy()
            testbed.source.libvirt.define_domain(file.read_text()).undefine()
            started_at = time.monotonic()
            run_tool([*virsh_argv, "define", str(file)])
            run_tool([*virsh_argv, "start", guest.name])
            ping_argv = [
                *virsh_argv,
                "qemu-agent-command",
                guest.name,
                "--timeout",
                "1",
                GUEST_PING,
            ]
            Deadline(READY_SECONDS).wait_for(
                "reply of the guest agent", lambda: _can_run(ping_argv)
            )
            return time.monotonic() - started_at
    finally:
        testbed.provisioner.remove_guest(guest)


def _can_run(argv: Sequence[str]) -> bool:
    try:
        run_tool(argv)
    except UsageError:
        return False
    return True


def format_ready_times(ready_times: ReadyTimes) -> list[str]:
    """Format the output of `migqual bench ready`.

    The output has a row with the times of virsh and a row with the times of migqual. Each time
    begins with the definition of a guest, and ends with the first reply of the guest agent. The
    last line is a ratio: the median time of migqual, divided by the median time of virsh.
    """
    rows = [("virsh define, start", ready_times.virsh_s), ("migqual", ready_times.migqual_s)]
    ratio = compute_median_ratio(ready_times.migqual_s, ready_times.virsh_s)
    return [
        *format_table(rows),
        f"median of migqual / median of virsh, ratio: {ratio:.2f}",
    ]
