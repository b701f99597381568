"""LM-PRE-04: the destination has the CPU, memory and storage that the guest takes."""

from dataclasses import replace

import pytest

from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from migqual.model.guest import DiskFormat, DiskSpec
from migqual.model.inventory import StoreKind
from migqual.model.plan import Plan, StorageCopy
from migqual.preflight.checks import run_checks
from migqual.preflight.facts import Seen
from suites.prerequisites.looking import Look, twin, worst

TIB_IN_MIB = 2**20


@pytest.mark.requirement("LM-PRE-04")
def test_more_memory_than_the_destination_has(
    look: Look, standing: Guest, provision: Provisioner
) -> None:
    """
    A guest that is too large for the destination is refused with both figures.

    Preconditions: a definition of a guest of 8 TiB; it is never started.
    Expected: refused; needed is larger than available, and both are told.
    """
    with twin(provision, standing, memory=str(8 * TIB_IN_MIB * 1024)) as name:
        finding = look(name)["LM-PRE-04.memory"]

    assert finding.verdict is Severity.REFUSED
    assert float(finding.figures["needed_mib"]) >= 8 * TIB_IN_MIB
    assert 0 < float(finding.figures["available_mib"]) < 8 * TIB_IN_MIB


@pytest.mark.requirement("LM-PRE-04")
def test_more_vcpus_than_the_hypervisor_has(look: Look, standing: Guest) -> None:
    """
    A demand for more vCPUs than the destination's hypervisor can give is refused.

    Preconditions: the facts of a real pair, with one vCPU more than the machine type takes there.
    Expected: refused with both figures; with the real demand nothing is said.
    """
    facts = look.facts(standing.name)
    assert isinstance(facts.seen, Seen)
    most = facts.seen.offer.max_vcpus
    assert isinstance(most, int)
    assert worst(run_checks(facts))["LM-PRE-04.cpu"].verdict is Severity.OK

    large = replace(facts.seen, definition=replace(facts.seen.definition, vcpus=most + 1))
    finding = worst(run_checks(replace(facts, seen=large)))["LM-PRE-04.cpu"]

    assert finding.verdict is Severity.REFUSED
    assert finding.figures == {"needed": most + 1, "available": most}


@pytest.mark.requirement("LM-PRE-04")
@pytest.mark.parametrize(
    ("size_mib", "verdict"),
    [(64, Severity.OK), (8 * TIB_IN_MIB, Severity.REFUSED)],
    ids=["fits", "does-not-fit"],
)
def test_room_for_disks_that_are_copied(
    size_mib: int, verdict: Severity, look: Look, standing: Guest, provision: Provisioner
) -> None:
    """
    A local disk needs room at the destination: what it can grow to, not what it takes now.

    Preconditions: a thin image of that size on the source's own store.
    Expected: refused exactly if it does not fit; the figure is its full size.
    """
    disk = DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, size_mib=size_mib)
    with twin(provision, standing, disk) as name:
        finding = look(name, Plan(copy_storage=StorageCopy.ALL))["LM-PRE-04.storage"]

    assert finding.verdict is verdict
    assert finding.figures["needed_mib"] == size_mib


@pytest.mark.requirement("LM-PRE-04")
def test_common_disks_need_no_room(look: Look, standing: Guest) -> None:
    """
    Disks that both hosts use take nothing of the destination's own storage.

    Preconditions: a guest whose disks are all on shared stores.
    Expected: ok, nothing needed.
    """
    finding = look(standing.name)["LM-PRE-04.storage"]

    assert finding.verdict is Severity.OK
    assert finding.figures["needed_mib"] == 0
