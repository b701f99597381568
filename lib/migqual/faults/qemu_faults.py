"""Kill or freeze the QEMU process of a guest on a host."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError
from migqual.faults.injection import inject_commands
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal

KILL_SECONDS = 10.0


def kill_qemu(host: Host, guest: Guest) -> None:
    """Kill the QEMU process of the guest on `host`, and wait until no such process exists.

    Raises:
        InconclusiveError: The host has no QEMU process of the guest.
        TimedOut: A process is still there after `KILL_SECONDS`.
    """
    if not host.list_qemu_pids(guest.name):
        raise InconclusiveError(f"{host.name} has no QEMU process of {guest.name} to kill")
    host.shell.run_unchecked(*_build_signal_command("KILL", guest))
    Deadline(KILL_SECONDS).wait_for(
        f"the end of QEMU of {guest.name} on {host.name}",
        lambda: not host.list_qemu_pids(guest.name),
    )


@contextmanager
def freeze_qemu(journal: Journal, host: Host, guest: Guest) -> Iterator[None]:
    """Stop all threads of the QEMU process of the guest on `host` while the block runs.

    Raises:
        InconclusiveError: The process is not stopped.
    """

    def is_frozen() -> bool:
        states = [
            host.shell.run("ps", "-o", "state=", "-p", str(pid)).stdout.strip()
            for pid in host.list_qemu_pids(guest.name)
        ]
        return bool(states) and all(state == "T" for state in states)

    with inject_commands(
        journal,
        host,
        f"frozen QEMU of {guest.name}",
        [_build_signal_command("STOP", guest)],
        [_build_signal_command("CONT", guest)],
        is_frozen,
    ):
        yield


def _build_signal_command(signal_name: str, guest: Guest) -> tuple[str, ...]:
    # The brackets keep the pattern from matching the command line of sudo.
    return ("pkill", f"-{signal_name}", "-f", f"guest[=]{guest.name},")
