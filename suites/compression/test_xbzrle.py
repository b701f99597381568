"""xbzrle: QEMU sends a slightly changed page as a difference from the last sent state."""

from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import InconclusiveError, MigrationRefused
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, WritePattern, WrittenPart
from migqual.model.outcome import Outcome
from migqual.model.plan import Compression, CompressionOptions, Control, Plan, Timeout
from migqual.testbed.testbed import Testbed
from migqual.units import MIB
from suites.support.compression import (
    MAX_COMPRESSED_SHARE,
    MAX_INCOMPRESSIBLE_SHARE,
    CountedMigration,
    list_changed_parameters,
    migrate_and_count_bytes,
    read_parameter_state,
    require_statistic,
)
from suites.support.stack_refusals import expect_stack_refusal

PAGE_BYTES = 4096
CACHE_SIZES = (64 * MIB, MIB, PAGE_BYTES)
MIN_ROUNDS = 4  # including the final round, in which the guest is stopped


def make_dirtying_spec(rate_mib_s: int, written_part: WrittenPart, mib: int = 16) -> GuestSpec:
    """Make the spec of a guest that writes random data to its memory all the time.

    Args:
        rate_mib_s: Rate of the writes.
        written_part: Part of each page that the guest writes: the whole page or a few bytes.
        mib: Size of the written memory.
    """
    memory = MemoryLoad(mib, rate_mib_s, pattern=WritePattern.SEQUENTIAL, written_part=written_part)
    return GuestSpec(load=GuestLoad(f"{written_part}-{mib}-{rate_mib_s}", memory=memory))


# The guest changes a few bytes of each page. QEMU remembers pages from the second round on and
# sends differences from the third round on. Each round leaves half of the data for the next
# round. Only little data may remain for the final round, so that enough rounds take place with
# any cache.
SLOW_DIRTYING_GUEST = make_dirtying_spec(24, WrittenPart.HEADER)
# The guest also changes a few bytes of each page, but twice as fast as QEMU can send whole
# pages: only with differences QEMU is fast enough. A round of whole pages takes 0.7 s, so that a
# short pause of the vCPU does not let a migration without compression converge.
FAST_DIRTYING_GUEST = make_dirtying_spec(96, WrittenPart.HEADER, mib=32)
SUSPEND_AFTER_S = 10.0
FULL_CACHE_BYTES = 256 * MIB  # as large as guest memory: no two pages share a place in the cache
# Each write fills a whole page with new random data.
RANDOM_DIRTYING_GUEST = make_dirtying_spec(32, WrittenPart.PAGE)


def build_xbzrle_plan(cache_bytes: int) -> Plan:
    return Plan(
        control=Control.DIRECT,
        compression=Compression.XBZRLE,
        compression_options=CompressionOptions(cache_bytes=cache_bytes),
        bandwidth_mib_s=48,
        downtime_ms=50,
    )


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.slow
def test_xbzrle_sends_differences(testbed: Testbed) -> None:
    """
    QEMU sends a slightly changed page as a difference if the cache holds the last state of the
    page.

    Preconditions: both ends offer xbzrle; the guest writes to 16 MiB of memory all the time, and
    changes a few bytes in each page.
    Expected: the cache has the requested size. With a cache large enough for all pages, QEMU
    sends differences of less than half a page on average. With a cache too small for the pages,
    there are more cache misses than differences. With the smallest cache, which holds a single
    page, nearly every access is a miss. After the migrations, the old cache size is in force.
    """
    guest = testbed.make_guest(SLOW_DIRTYING_GUEST)
    parameters_before = read_parameter_state(guest)

    figures_by_cache = [
        read_xbzrle_figures(
            migrate_and_count_bytes(testbed, guest, build_xbzrle_plan(size)).outcome
        )
        for size in CACHE_SIZES
    ]
    large_cache, small_cache, smallest_cache = figures_by_cache

    assert [figures.cache_bytes for figures in figures_by_cache] == list(CACHE_SIZES)
    assert large_cache.page_count > 0
    assert large_cache.byte_count / large_cache.page_count < PAGE_BYTES / 2
    assert small_cache.miss_count > small_cache.page_count
    assert smallest_cache.miss_count > 10 * smallest_cache.page_count
    assert list_changed_parameters(guest, parameters_before) == {}


@pytest.mark.requirement("LM-PAR-08")
def test_xbzrle_sends_fewer_bytes(testbed: Testbed) -> None:
    """
    With xbzrle, the migration of a guest with small changes in each page sends fewer bytes.

    Preconditions: both ends offer xbzrle; the guest changes pages faster than QEMU can send
    whole pages. Each migration has a timeout of 10 s, after which the guest is suspended.
    Without xbzrle, the migration would not end without this suspension.
    Expected: with xbzrle, the guest moves before the timeout. The link carries at most 80 % of
    the bytes of the migration without xbzrle. On average, a sent page takes fewer bytes than
    without xbzrle.
    """
    guest = testbed.make_guest(FAST_DIRTYING_GUEST)
    plan = replace(build_xbzrle_plan(FULL_CACHE_BYTES), timeout=Timeout(SUSPEND_AFTER_S))

    plain_migration = migrate_and_count_bytes(testbed, guest, remove_compression(plan))
    xbzrle_migration = migrate_and_count_bytes(testbed, guest, plan)

    if plain_migration.outcome.suspended_at_s is None:
        raise InconclusiveError(
            "without xbzrle, QEMU already sent pages as fast as the guest changed pages, so the "
            "test cannot show the effect of xbzrle"
        )
    assert xbzrle_migration.outcome.suspended_at_s is None
    assert xbzrle_migration.link_bytes <= plain_migration.link_bytes * MAX_COMPRESSED_SHARE
    assert compute_bytes_per_page(xbzrle_migration) < compute_bytes_per_page(plain_migration)


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.slow
def test_xbzrle_does_not_grow_random_pages(testbed: Testbed) -> None:
    """
    For pages with new random data, xbzrle increases the bytes on the link by at most 2 %.

    Preconditions: both ends offer xbzrle; the guest fills 16 MiB with new random data all the
    time.
    Expected: with xbzrle, a sent page takes on average at most 102 % of the bytes that a page
    takes without xbzrle. Pages sent as a whole and pages sent as a difference both count. If
    QEMU found no page in the cache of xbzrle, the test is inconclusive.
    """
    guest = testbed.make_guest(RANDOM_DIRTYING_GUEST)

    plain_migration = migrate_and_count_bytes(
        testbed, guest, remove_compression(build_xbzrle_plan(CACHE_SIZES[0]))
    )
    xbzrle_migration = migrate_and_count_bytes(testbed, guest, build_xbzrle_plan(CACHE_SIZES[0]))

    figures = read_xbzrle_figures(xbzrle_migration.outcome)
    if not figures.page_count + figures.overflow_count:
        raise InconclusiveError(
            "QEMU found no page in the cache of xbzrle, so the test cannot show the effect of "
            "xbzrle"
        )
    assert (
        compute_bytes_per_page(xbzrle_migration)
        <= compute_bytes_per_page(plain_migration) * MAX_INCOMPRESSIBLE_SHARE
    )


def remove_compression(plan: Plan) -> Plan:
    return replace(plan, compression=Compression.NONE, compression_options=CompressionOptions())


def compute_bytes_per_page(migration: CountedMigration) -> float:
    """Return the average number of bytes on the link for a sent page.

    The number of pages is the sum of the pages sent as a whole and the pages sent as a difference.
    """
    return migration.link_bytes / (
        migration.normal_pages + (migration.outcome.stats.xbzrle_pages or 0)
    )


@dataclass(frozen=True)
class XbzrleFigures:
    """The statistics of xbzrle.

    Attributes:
        page_count: Pages sent as differences.
        byte_count: Bytes of the differences.
        miss_count: Pages that were not in the cache.
        overflow_count: Pages with a difference too large to send.
    """

    cache_bytes: int
    page_count: int
    byte_count: int
    miss_count: int
    overflow_count: int


def read_xbzrle_figures(outcome: Outcome) -> XbzrleFigures:
    """Return the xbzrle statistics of the migration.

    Raises:
        InconclusiveError: The migration had fewer than `MIN_ROUNDS` rounds, or libvirt did not
            report a statistic.
    """
    stats = outcome.stats
    rounds = require_statistic(stats.memory_iteration, "rounds")
    if rounds < MIN_ROUNDS:
        raise InconclusiveError(
            f"the migration ended after {rounds} rounds, but the test needs {MIN_ROUNDS} rounds"
        )
    return XbzrleFigures(
        cache_bytes=require_statistic(stats.xbzrle_cache_bytes, "bytes of the cache"),
        page_count=require_statistic(stats.xbzrle_pages, "pages sent as differences"),
        byte_count=require_statistic(stats.xbzrle_bytes, "bytes sent as differences"),
        miss_count=require_statistic(stats.xbzrle_cache_misses, "cache misses"),
        overflow_count=require_statistic(stats.xbzrle_overflow_pages, "too large differences"),
    )


@pytest.mark.requirement("LM-PAR-08")
def test_xbzrle_invalid_cache_size_is_refused(
    testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    An xbzrle cache size that is 0, smaller than a page, or not a power of two is refused and
    changes no parameter.

    Preconditions: both ends offer xbzrle.
    Expected: QEMU refuses the size before any data moves. The old size stays in force. The same
    guest moves with a valid size.
    """
    guest = testbed.make_guest(GuestSpec())
    migrate_and_count_bytes(testbed, guest, build_xbzrle_plan(MIB))
    parameters_before = read_parameter_state(guest)

    for size in (0, 1024, 5 * MIB):
        message = expect_stack_refusal(testbed, guest, build_xbzrle_plan(size), MigrationRefused)
        record_stack_message("xbzrle-cache-size", message)
        assert list_changed_parameters(guest, parameters_before) == {}
