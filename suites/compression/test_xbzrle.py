"""xbzrle: pages that change a little go as differences to what was sent before."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import InconclusiveError, MigrationRefused
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.outcome import Outcome
from migqual.model.plan import Compression, Control, Plan, Tuning
from suites.compression.compressing import Migrate, carry, parameters

MIB = 2**20
PAGE = 4096
CACHES = (64 * MIB, MIB, PAGE)
# A few bytes of each page, over and over. QEMU remembers pages from the second round on, and sends
# differences from the third: each round leaves half as much for the next, and little may be left
# for the rest, so that there are rounds enough with any cache.
RESTLESS = GuestSpec(
    load=Load(
        "little-by-little",
        memory=MemoryLoad(mib=16, rate_mib_s=24, pattern=Pattern.SEQUENTIAL, touch="header"),
    )
)
ROUNDS = 4  # the one with the guest at rest included


def cached(size: int) -> Plan:
    return Plan(
        control=Control.DIRECT,
        compression=Compression.XBZRLE,
        tuning=Tuning(cache_bytes=size),
        bandwidth_mib_s=48,
        downtime_ms=50,
    )


@pytest.mark.requirement("LM-PAR-08")
def test_differences_go_in_place_of_pages(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    Pages that change a little go as differences, as far as the cache holds their last state.

    Preconditions: both ends offer xbzrle; the guest changes a few bytes of 16 MiB all the time.
    Expected: the cache is as large as asked for; one that holds the pages sends differences of less
    than half a page each, one that is too small misses, and the smallest that there is, of one
    page, misses nearly all. Afterwards the old size is in force.
    """
    guest = make_guest(RESTLESS)
    before = parameters(guest)

    found = [again(carry(migrate, pair, guest, cached(size)).outcome) for size in CACHES]
    large, small, smallest = found

    assert [one["compression_cache"] for one in found] == list(CACHES)
    assert large["compression_pages"] > 0
    assert large["compression_bytes"] / large["compression_pages"] < PAGE / 2
    assert small["compression_cache_misses"] > small["compression_pages"]
    assert smallest["compression_cache_misses"] > 10 * smallest["compression_pages"]
    assert parameters(guest) == before


def again(outcome: Outcome) -> dict[str, int]:
    """Figures of the compression. Raises `InconclusiveError` when no page was sent three times."""
    if int(outcome.stats["memory_iteration"]) < ROUNDS:
        raise InconclusiveError(f"over after {outcome.stats['memory_iteration']} rounds")
    return {
        name: int(value) for name, value in outcome.stats.items() if name.startswith("compression_")
    }


@pytest.mark.requirement("LM-PAR-08")
def test_odd_cache_sizes_are_refused(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A cache of no power of two, of nothing, or below a page is refused, and changes nothing.

    Preconditions: both ends offer xbzrle.
    Expected: refused with the reason, before any data moves; the old size is in force; the same
    guest moves with a good size.
    """
    guest = make_guest(GuestSpec())
    carry(migrate, pair, guest, cached(MIB))
    before = parameters(guest)

    for size in (0, 1024, 5 * MIB):
        with pytest.raises(MigrationRefused, match=r"(?i)power of two"):
            migrate(guest, cached(size))
        assert parameters(guest) == before
