"""A running guest moves to the other host and back without a visible effect for users."""

import pytest

from fixtures.plugins.matrix import Combination
from migqual.model.guest_spec import Firmware, GuestSpec, Persistence
from migqual.model.plan import Plan
from migqual.model.profile import Profile
from migqual.model.profile_limits import find_exceeded_limits
from migqual.testbed.testbed import Testbed
from suites.support.disks import read_copied_bytes


@pytest.mark.requirement("LM-CAP-01", "LM-CAP-02")
def test_round_trip_on_shared_storage(
    combination: Combination, testbed: Testbed, profile: Profile
) -> None:
    """
    A guest on shared storage moves to the destination and back without any loss.

    Preconditions: both hosts reach the store; the guest's load runs.
    Expected: the guest does not boot again, and every page and every acknowledged block is
    intact. The TCP session is alive. The gap, the stall of the TCP session, QEMU's downtime and
    the duration of the migration do not exceed the limits of the profile. No byte of any disk is
    copied.
    """
    guest = testbed.make_guest(combination.guest)
    plan = combination.build_plan(testbed.choose_safety(combination.guest))

    for outcome in (testbed.migrate(guest, plan), testbed.migrate(guest, plan)):
        assert outcome.gap_report is not None
        assert outcome.gap_report.session_alive
        assert find_exceeded_limits(outcome, profile.thresholds) == []
        assert read_copied_bytes(outcome) == 0

    assert guest.host is testbed.source
    assert testbed.destination.libvirt.find_domain(guest.name) is None


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.parametrize(
    "firmware", [Firmware.UEFI, pytest.param(Firmware.BIOS, marks=pytest.mark.slow)], ids=str
)
def test_guest_without_disks(firmware: Firmware, testbed: Testbed) -> None:
    """
    A guest without disks moves to the destination, with UEFI firmware and with BIOS firmware.

    Preconditions: none.
    Expected: the guest runs at the destination without a reboot, and its memory is intact.
    """
    guest = testbed.make_guest(GuestSpec(firmware=firmware))

    testbed.migrate(guest, Plan())

    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.parametrize("persistence", list(Persistence), ids=str)
def test_definition_moves_with_the_guest(persistence: Persistence, testbed: Testbed) -> None:
    """
    After a migration, a persistent guest is defined at the destination only, and a transient guest
    is defined on no host.

    Preconditions: none.
    Expected: the destination has a definition of a persistent guest, but no definition of a
    transient guest. The source has no definition of the guest any more.
    """
    guest = testbed.make_guest(GuestSpec(persistence=persistence))

    testbed.migrate(guest, Plan())

    assert guest.domain.is_persistent is (persistence is Persistence.PERSISTENT)
    assert testbed.source.libvirt.find_domain(guest.name) is None
