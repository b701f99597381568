"""xbzrle: pages that change a little go as differences to what was sent before."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import InconclusiveError, MigrationRefused
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.outcome import Outcome
from migqual.model.plan import Compression, Control, Plan, Timeout, Tuning
from suites.compression.compressing import (
    GROWN,
    MIB,
    SHRUNK,
    Carried,
    Migrate,
    carry,
    parameters,
)

PAGE = 4096
CACHES = (64 * MIB, MIB, PAGE)
ROUNDS = 4  # the one with the guest at rest included


def restless(rate_mib_s: int, touch: str, mib: int = 16) -> GuestSpec:
    """Random data that change over and over."""
    memory = MemoryLoad(mib, rate_mib_s, pattern=Pattern.SEQUENTIAL, touch=touch)
    return GuestSpec(load=Load(f"{touch}-{mib}-{rate_mib_s}", memory=memory))


# A few bytes of each page. QEMU remembers pages from the second round on, and sends differences
# from the third: each round leaves half as much for the next, and little may be left for the rest,
# so that there are rounds enough with any cache.
RESTLESS = restless(24, "header")
# The same, twice as fast as whole pages can be sent: only differences catch up with it. A round of
# whole pages takes 0.7 s, so that a vCPU that waits for a moment does not let them slip through.
ENDLESS = restless(96, "header", mib=32)
ENDLESS_S = 10.0
HOLDS_ALL = 256 * MIB  # of the guest: no two pages want the same place
RANDOM = restless(32, "page")  # and one whose pages are other ones each time


def cached(size: int) -> Plan:
    return Plan(
        control=Control.DIRECT,
        compression=Compression.XBZRLE,
        tuning=Tuning(cache_bytes=size),
        bandwidth_mib_s=48,
        downtime_ms=50,
    )


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.long
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


@pytest.mark.requirement("LM-PAR-08")
def test_differences_take_fewer_bytes(make_guest: MakeGuest, migrate: Migrate, pair: Pair) -> None:
    """
    A guest that changes a little of each page all the time moves with fewer bytes.

    Preconditions: both ends offer xbzrle; the guest changes pages faster than they can be sent, and
    is suspended after ten seconds, or a plain migration would not end.
    Expected: with xbzrle it moves without that, with at most 80 % of the plain one's bytes on the
    link; and all the pages that were sent, as such or as differences, take fewer bytes each.
    """
    guest = make_guest(ENDLESS)
    plan = replace(cached(HOLDS_ALL), timeout=Timeout(ENDLESS_S))

    plain = carry(migrate, pair, guest, uncompressed(plan))
    differences = carry(migrate, pair, guest, plan)

    if plain.outcome.suspended_at_s is None:
        raise InconclusiveError("whole pages were sent as fast as the guest changes them")
    assert differences.outcome.suspended_at_s is None
    assert differences.bytes <= plain.bytes * SHRUNK
    assert of_a_page(differences) < of_a_page(plain)


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.long
def test_pages_without_likeness_do_not_grow(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    Pages that have nothing in common with their last state take no more bytes than without xbzrle.

    Preconditions: both ends offer xbzrle; the guest fills 16 MiB with new random data all the time.
    Expected: the pages that were sent, as such or as differences, take at most 102 % of the bytes
    on the link that those of a plain migration take; some did meet their last state.
    """
    guest = make_guest(RANDOM)

    plain = carry(migrate, pair, guest, uncompressed(cached(CACHES[0])))
    random = carry(migrate, pair, guest, cached(CACHES[0]))

    found = again(random.outcome)
    if not found["compression_pages"] + found["compression_overflow"]:
        raise InconclusiveError("no page was compared with its last state")
    assert of_a_page(random) <= of_a_page(plain) * GROWN


def uncompressed(plan: Plan) -> Plan:
    return replace(plan, compression=Compression.NONE, tuning=Tuning())


def of_a_page(carried: Carried) -> float:
    """Bytes on the link for each page that was sent, as such or as a difference."""
    stats = carried.outcome.stats
    return carried.bytes / (int(stats["memory_normal"]) + int(stats.get("compression_pages", 0)))


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
