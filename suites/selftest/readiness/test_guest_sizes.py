"""A host is refused if it lacks the memory of a described guest; too few CPUs are a warning."""

import pytest

from migqual.inventory.guest_size import GuestSize
from migqual.model.finding import Severity
from migqual.readiness.guest_size_checks import judge_guest_size

pytestmark = pytest.mark.selftest

DATABASE = GuestSize(name="database", vcpus=16, memory_mib=65536)


@pytest.mark.parametrize(
    ("cpus", "free_mib", "severity"),
    [
        (16, 65536, Severity.OK),
        (15, 65536, Severity.WARNING),
        (16, 65535, Severity.REFUSED),
        (1, 1, Severity.REFUSED),
    ],
)
def test_memory_and_cpus_of_a_host(cpus: int, free_mib: int, severity: Severity) -> None:
    finding = judge_guest_size("h1", DATABASE, cpus, free_mib)

    assert (finding.id, finding.severity) == ("h1.guest-database", severity)
    assert bool(finding.remedy) is (severity is not Severity.OK)


def test_missing_huge_pages_are_named_with_their_number() -> None:
    """The remedy names the number of huge pages: 64 GiB need 64 pages of 1 GiB."""
    finding = judge_guest_size("h1", DATABASE.model_copy(update={"huge_pages": "1G"}), 16, 1024)

    assert "65536 MiB in huge pages of 1G, but h1 has 1024 MiB free" in finding.message
    assert "at least 64 to /sys/kernel/mm/hugepages/hugepages-1048576kB" in finding.remedy
