"""A guest with a distribution's image uses the same agent protocol as the other guests."""

from pathlib import Path

import pytest

from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.model.plan import Plan, Safety
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check


@pytest.mark.timeout(600)
def test_guest_with_a_distribution_on_its_disk(system_image: Path, testbed: Testbed) -> None:
    """
    A guest with a complete Linux distribution on the disk migrates like any other guest.

    Preconditions: a UEFI image with cloud-init and the guest agent, on the shared directory.
    Expected: the guest boots and the agent answers. The guest does not reboot during the
    migration, and memory and disk are intact.
    """
    disk = DiskSpec(StoreKind.DIRECTORY)
    guest = testbed.make_guest(
        GuestSpec(image=system_image, memory_mib=512, vcpus=2, disks=(disk,))
    )

    testbed.migrate(guest, Plan(safety=Safety.UNSAFE))

    assert guest.host is testbed.destination
