"""LM-RES-11: the destination has at least as many CPUs as the guest has vCPUs."""

import pytest

from fixtures.plugins.preflight import PreflightRunner, define_inactive_copy
from migqual.hosts.guest import Guest
from migqual.model.finding import Severity
from migqual.testbed.testbed import Testbed


@pytest.mark.requirement("LM-RES-11")
@pytest.mark.parametrize(
    ("extra_vcpus", "verdict"),
    [(0, Severity.OK), (1, Severity.WARNING)],
    ids=["as-many", "one-more"],
)
def test_vcpu_count_against_destination_cpus(
    extra_vcpus: int,
    verdict: Severity,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    testbed: Testbed,
) -> None:
    """
    The guard warns as soon as the guest has more vCPUs than the destination has CPUs.

    Preconditions: a definition with as many vCPUs as the destination has CPUs, or with an extra
    vCPU.
    Expected: a warning exactly with the extra vCPU. The finding states both figures.
    """
    cpus = int(testbed.destination.libvirt.query_node_info()["cpus"])
    with define_inactive_copy(
        testbed.provisioner, shared_idle_guest, vcpu=str(cpus + extra_vcpus)
    ) as name:
        finding = run_preflight(name)["LM-RES-11.cpus"]

    assert finding.severity is verdict
    assert finding.figures == {"needed": cpus + extra_vcpus, "available": cpus}
