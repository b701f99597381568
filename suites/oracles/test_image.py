"""A guest made from a distribution's image is driven by the same agent protocol."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety

pytestmark = pytest.mark.oracle


@pytest.mark.timeout(600)
def test_guest_with_a_distribution_on_its_disk(
    system_image: Path, make_guest: MakeGuest, migrate: Callable[..., Outcome], pair: Pair
) -> None:
    """
    A guest with a whole distribution on its disk moves like any other.

    Preconditions: a UEFI image with cloud-init and the guest agent, on the shared directory.
    Expected: it boots, its agent answers, and after the move it is the same boot, with memory and
    disk intact.
    """
    disk = DiskSpec(StoreKind.DIRECTORY)
    guest = make_guest(GuestSpec(image=system_image, memory_mib=512, vcpus=2, disks=(disk,)))

    migrate(guest, Plan(safety=Safety.UNSAFE))

    assert guest.host is pair.destination
