"""Page counts of the compression tests."""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.job_stats import JobStats
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Plan
from suites.support.compression import CountedMigration

pytestmark = pytest.mark.selftest


def count_migration(values: dict[str, int | str]) -> CountedMigration:
    """Build a completed migration whose job statistics in libvirt are `values`.

    A `CountedMigration` also has the number of bytes that the kernel counted on the link.
    """
    outcome = Outcome(
        *(Plan(), "guest", "a1", "b1", "virsh", MigrationStatus.COMPLETED, 1.0),
        stats=JobStats(values),
    )
    return CountedMigration(outcome, link_bytes=1)


def test_absent_page_count_is_inconclusive() -> None:
    """
    If libvirt reports no number of normal pages, the test is inconclusive.

    Expected: the absent number does not count as 0 pages.
    """
    assert count_migration({"memory_normal": 0}).normal_pages == 0
    with pytest.raises(InconclusiveError, match="lack the number of pages"):
        _ = count_migration({}).normal_pages
