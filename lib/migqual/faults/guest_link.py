"""Disconnect a guest from its network, on the host."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.faults.injection import inject_commands
from migqual.hosts.domain_definition import parse_domain_xml
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal


@contextmanager
def disconnect_guest(journal: Journal, host: Host, guest: Guest) -> Iterator[None]:
    """Set the network devices of a guest on the host (tap devices) down while the block runs.

    No packet then reaches the guest, and no packet of the guest leaves the host. Only the guest is
    affected, so the function may be used on hosts that others use.

    Args:
        journal: Records the change before it is made, so that `migqual sweep` can undo the change.
        host: The host that runs the guest.
        guest: The guest.

    Raises:
        InconclusiveError: A device is still up.
    """
    domain = host.libvirt.find_domain(guest.name)
    assert domain is not None
    devices = [nic.host_device for nic in parse_domain_xml(domain.read_live_xml()).nics]

    def are_down() -> bool:
        shown = [host.shell.run("ip", "-o", "link", "show", "dev", name).stdout for name in devices]
        return not any(
            "UP" in text.partition("<")[2].partition(">")[0].split(",") for text in shown
        )

    with inject_commands(
        journal,
        host,
        f"network devices of {guest.name} down",
        [("ip", "link", "set", "dev", device, "down") for device in devices],
        [("ip", "link", "set", "dev", device, "up") for device in devices],
        are_down,
    ):
        yield
