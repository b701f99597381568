"""A running guest moves to the other host and back, and nobody who uses it can tell."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.matrix import Combination
from migqual.model.guest import Firmware, GuestSpec, Persistence
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.model.profile import Profile

Migrate = Callable[..., Outcome]


@pytest.mark.requirement("LM-CAP-01", "LM-CAP-02")
def test_there_and_back_on_shared_storage(
    combination: Combination, make_guest: MakeGuest, migrate: Migrate, pair: Pair, profile: Profile
) -> None:
    """
    A guest on shared storage goes to the other host and comes back, and nothing is lost.

    Preconditions: both hosts reach the store; the guest's load runs.
    Expected: the same boot, every page and acknowledged block intact, the TCP session alive, the
    gap below the profile's limit, and not a byte of any disk copied.
    """
    guest = make_guest(combination.guest)

    for outcome in (migrate(guest, combination.plan), migrate(guest, combination.plan)):
        assert outcome.gaps is not None
        assert outcome.gaps.session_alive
        assert outcome.gaps.max_ms <= profile.thresholds.gap_max_ms
        assert not outcome.stats.get("disk_total")

    assert guest.host is pair.source
    assert pair.destination.libvirt.lookup(guest.name) is None


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.parametrize(
    "firmware", [Firmware.UEFI, pytest.param(Firmware.BIOS, marks=pytest.mark.long)], ids=str
)
def test_guest_without_disks(
    firmware: Firmware, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A guest that lives in memory alone moves with either firmware.

    Preconditions: none.
    Expected: it runs at the destination, the same boot, its memory intact.
    """
    guest = make_guest(GuestSpec(firmware=firmware))

    migrate(guest, Plan())

    assert guest.host is pair.destination


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.parametrize("persistence", list(Persistence), ids=str)
def test_definition_moves_with_the_guest(
    persistence: Persistence, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A persistent guest is defined at the destination afterwards, a transient one nowhere.

    Preconditions: none.
    Expected: the destination keeps a definition exactly if the source had one; the source none.
    """
    guest = make_guest(GuestSpec(persistence=persistence))

    migrate(guest, Plan())

    assert guest.domain.persistent is (persistence is Persistence.PERSISTENT)
    assert pair.source.libvirt.lookup(guest.name) is None
