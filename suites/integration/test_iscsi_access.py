"""The hosts of the pair, and no other host, can open an iSCSI disk of a guest."""

import pytest

from migqual.errors import InconclusiveError
from migqual.hosts.host import Host
from migqual.hosts.volume import Volume
from migqual.inventory.entities import HostRole
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check


def test_only_the_pair_can_open_an_iscsi_disk(testbed: Testbed) -> None:
    """
    Both hosts of the pair read the disk, and a third hypervisor is refused.

    Preconditions: a lab with a hypervisor outside the pair.
    Expected: the third host reaches the server, but the server refuses the login to the target.
    """
    pair_names = {host.name for host in testbed.hosts}
    other_entries = testbed.inventory.list_hosts_with_role(HostRole.HYPERVISOR)
    other_name = next((entry.name for entry in other_entries if entry.name not in pair_names), None)
    if other_name is None:
        raise InconclusiveError("the lab has no hypervisor outside the pair")
    with testbed.running_guest(GuestSpec(disks=(DiskSpec(StoreKind.ISCSI),))) as guest:
        messages = {
            host.name: try_to_read(host, guest.volumes[0])
            for host in (*testbed.hosts, testbed.provisioner.hosts[other_name])
        }

    assert {name for name, message in messages.items() if not message} == pair_names
    assert "Failed to log in to target" in messages[other_name]


def try_to_read(host: Host, volume: Volume) -> str:
    """Read the first block of an iSCSI volume. Return the error, or an empty text."""
    name = volume.export_name
    address = f"[{volume.address}]" if ":" in volume.address else volume.address
    uri = f"iscsi://{address}:{volume.port}/{name}"
    result = host.shell.run_unchecked("qemu-io", "-r", "-U", "-f", "raw", "-c", "read 0 512", uri)
    return result.stderr.strip() if result.status else ""
