"""The names of hosts and stores with a refused check, and the check of free space."""

from pathlib import PurePosixPath

import pytest

from migqual.model.finding import Finding, Severity
from migqual.readiness.host_checks import MIN_FREE_MIB, judge_free_space
from migqual.readiness.inventory_check import find_refused_names

pytestmark = pytest.mark.selftest

DF_OUTPUT = """\
Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/vda         263174212  51236096 {available}      50% /
"""


@pytest.mark.parametrize(
    ("finding_id", "severity", "refused"),
    [
        ("a1.ssh", Severity.REFUSED, {"a1"}),
        ("h2.lab.bridge", Severity.REFUSED, {"h2.lab"}),
        ("shared.h2.lab", Severity.REFUSED, {"shared", "h2.lab"}),
        ("shared.sharing", Severity.REFUSED, {"shared"}),
        ("a1-b1.clocks", Severity.REFUSED, set()),
        ("inventory.client", Severity.REFUSED, set()),
        ("a1.libvirt", Severity.REFUSED, {"a1"}),
        ("a1.firmware", Severity.WARNING, set()),
        ("a1.end", Severity.UNKNOWN, set()),
    ],
)
def test_name_in_the_id_of_a_refused_finding(
    finding_id: str, severity: Severity, refused: set[str]
) -> None:
    """`find_refused_names` finds each host and store in the ids of findings of severity refused.

    For example, the id `shared.h2.lab` names the store `shared` and the host `h2.lab`. A host name
    may contain dots. The id `a1-b1.clocks` names a pair and no host. A finding of another severity
    does not count. A host can have the name of a check, for example `client` or `libvirt`.
    """
    stores = ("shared", "local")
    names = ("a1", "a10", "h2.lab", "client", "libvirt", *stores)

    assert find_refused_names(names, stores, [Finding(finding_id, severity, "")]) == refused


@pytest.mark.parametrize("free_mib", [MIN_FREE_MIB - 1, MIN_FREE_MIB])
def test_free_space(free_mib: int) -> None:
    """A folder with too little free space is refused; the remedy names the missing space."""
    folder = PurePosixPath("/var/lib/migqual")
    output = DF_OUTPUT.format(available=free_mib * 1024)

    finding = judge_free_space("a1.scratch", "a1", folder, output)

    is_enough = free_mib >= MIN_FREE_MIB
    assert finding.severity is (Severity.OK if is_enough else Severity.REFUSED)
    assert finding.figures == {"free_mib": free_mib}
    assert finding.remedy == ("" if is_enough else "free 1 MiB")
