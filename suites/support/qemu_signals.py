"""Signals to the QEMU processes of a guest."""

from migqual.hosts.guest import Guest
from migqual.hosts.host import Host


def send_signal_to_qemu(host: Host, guest: Guest, signal_name: str) -> None:
    """Send a signal to the QEMU processes of the guest on a host."""
    host.shell.run("kill", f"-{signal_name}", *map(str, host.list_qemu_pids(guest.name)))


def kill_qemu(host: Host, guest: Guest) -> None:
    """Kill the QEMU processes of the guest on a host; a process already gone is no error."""
    host.shell.run_unchecked("kill", "-KILL", *map(str, host.list_qemu_pids(guest.name)))
