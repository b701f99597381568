"""LM-RES-11: the destination has at least as many CPUs as the guest has vCPUs."""

import pytest

from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from suites.prerequisites.looking import Look, twin


@pytest.mark.requirement("LM-RES-11")
@pytest.mark.parametrize(
    ("more", "verdict"), [(0, Severity.OK), (1, Severity.WARNING)], ids=["as-many", "one-more"]
)
def test_vcpus_against_cpus(
    more: int,
    verdict: Severity,
    look: Look,
    standing: Guest,
    pair: Pair,
    provision: Provisioner,
) -> None:
    """
    The guard warns from the first vCPU for which the destination has no CPU.

    Preconditions: a definition with as many vCPUs as the destination has CPUs, or one more.
    Expected: a warning with both figures exactly if there is one too many.
    """
    cpus = int(pair.destination.libvirt.node()["cpus"])
    with twin(provision, standing, vcpu=str(cpus + more)) as name:
        finding = look(name)["LM-RES-11.cpus"]

    assert finding.verdict is verdict
    assert finding.figures == {"needed": cpus + more, "available": cpus}
