"""libvirt's safety check, and `--unsafe`."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationRefused
from migqual.model.finding import Severity
from migqual.model.guest import CacheMode, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety
from migqual.preflight.run import preflight
from migqual.preflight.tools import Tools

Migrate = Callable[..., Outcome]


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize(
    "cache", [CacheMode.WRITEBACK, pytest.param(CacheMode.UNSAFE, marks=pytest.mark.long)], ids=str
)
def test_risky_cache_mode_needs_unsafe(
    cache: CacheMode, make_guest: MakeGuest, migrate: Migrate
) -> None:
    """
    A disk file with a risky cache mode keeps a guest where it is, unless the check is overridden.

    Preconditions: a directory that both hosts share, of a kind that libvirt does not trust.
    Expected: refused as unsafe before any data moves, the guest unharmed; with `--unsafe` it moves
    and no acknowledged block is lost.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, cache=cache),)))

    with pytest.raises(MigrationRefused, match=r"(?i)unsafe|data corruption"):
        migrate(guest, Plan(safety=Safety.CHECKED))

    migrate(guest, Plan(safety=Safety.UNSAFE))


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize("store", [StoreKind.DIRECTORY, StoreKind.NBD], ids=str)
def test_preflight_foretells_the_check(
    store: StoreKind, make_guest: MakeGuest, migrate: Migrate, pair: Pair, tools: Tools
) -> None:
    """
    Preflight warns of a disk that libvirt will take for unsafe, and of no other.

    Preconditions: a directory that both hosts share, of whatever kind; and an NBD export.
    Expected: with a warning libvirt refuses, and with none the guest moves.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(store),)))
    found = {one.id: one.verdict for one in preflight(guest.name, *pair.hosts, tools, Plan())}

    if found["LM-SHR-02.safety"] is Severity.WARNING:
        with pytest.raises(MigrationRefused, match=r"(?i)unsafe"):
            migrate(guest, Plan(safety=Safety.CHECKED))
    else:
        migrate(guest, Plan(safety=Safety.CHECKED))
        assert guest.host is pair.destination


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
@pytest.mark.parametrize("safety", list(Safety), ids=str)
def test_network_disks_pass_the_check(
    store: StoreKind, safety: Safety, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A guest on network disks moves with the safety check on, and with it off.

    Preconditions: both hosts reach the storage host.
    Expected: the check finds nothing to refuse; `--unsafe` changes nothing.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(store),)))

    migrate(guest, Plan(safety=safety))

    assert guest.host is pair.destination
