"""`migqual inventory check` names each fault of an inventory or a host, and nothing else."""

from pathlib import Path

import pytest

from migqual.inventory.file import load_inventory
from migqual.model.finding import Severity
from migqual.readiness.inventory_check import check_inventory_hosts
from migqual.testbed.testbed import Testbed
from suites.support.inventory_fault_list import INVENTORY_FAULTS
from suites.support.inventory_faults import InventoryFault, find_storage, write_inventory

pytestmark = pytest.mark.observer_check


def list_marks(fault: InventoryFault) -> list[pytest.MarkDecorator]:
    """List the markers of the test case for a fault.

    A damaged storage host disturbs other pairs, so no other test may run at the same time.
    """
    return [
        *([pytest.mark.timing_sensitive] if fault.is_common else []),
        *([] if fault.is_typical else [pytest.mark.slow]),
    ]


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=list_marks(fault)) for fault in INVENTORY_FAULTS],
    ids=[fault.id for fault in INVENTORY_FAULTS],
)
def test_fault_is_named_with_a_remedy(
    fault: InventoryFault, testbed: Testbed, tmp_path: Path
) -> None:
    """
    The check refuses the faulty host, store or pair with a remedy, and refuses nothing else.

    Preconditions: the inventory or a host has exactly one fault.
    """
    file = write_inventory(testbed, fault, tmp_path)
    names = {
        "source": testbed.source.name,
        "destination": testbed.destination.name,
        "storage": find_storage(testbed).name,
    }

    with fault.damage(testbed):
        findings = check_inventory_hosts(load_inventory(file))

    bad_findings = [
        finding for finding in findings if finding.severity in {Severity.REFUSED, Severity.UNKNOWN}
    ]
    assert [finding.id for finding in bad_findings] == [
        id_.format(**names) for id_ in fault.findings
    ]
    assert fault.text in bad_findings[0].message
    assert all(finding.remedy for finding in bad_findings)


def test_healthy_pair_is_ready(testbed: Testbed, tmp_path: Path) -> None:
    """
    For a pair without a fault, `migqual inventory check` reports no problem.

    Expected: all findings have the severity ok. The command starts a trial guest (a guest only for
    this check) on each host, and removes both guests.
    """
    file = write_inventory(testbed, InventoryFault("none", (), ""), tmp_path)

    findings = check_inventory_hosts(load_inventory(file))

    assert {
        finding.id: finding.message for finding in findings if finding.severity is not Severity.OK
    } == {}
    assert f"{testbed.source.name}.guest" in {finding.id for finding in findings}
    assert f"{testbed.destination.name}.guest" in {finding.id for finding in findings}
