"""LM-RES-11: the destination has at least as many CPUs as the guest has vCPUs."""

from dataclasses import replace

import pytest

from fixtures.plugins.preflight import PreflightRunner, select_worst_findings
from migqual.hosts.guest import Guest
from migqual.model.finding import Severity
from migqual.preflight.checks import evaluate_facts
from migqual.preflight.facts import MigrationFacts
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

    Preconditions: the facts of a real pair and guest. In the facts, the test sets the number of
    vCPUs to the number of CPUs at the destination, or to one more. The guest itself does not
    change, because libvirt may refuse so many vCPUs on a large host.
    Expected: preflight warns only if the guest has one vCPU more. The finding states the number of
    vCPUs and the number of CPUs.
    """
    cpus = int(testbed.destination.libvirt.query_node_info()["cpus"])
    facts = run_preflight.collect_facts(shared_idle_guest.name)
    assert isinstance(facts.migration, MigrationFacts)
    large_guest = replace(facts.migration.definition, vcpus=cpus + extra_vcpus)

    finding = select_worst_findings(
        evaluate_facts(replace(facts, migration=replace(facts.migration, definition=large_guest)))
    )["LM-RES-11.cpus"]

    assert finding.severity is verdict
    assert finding.figures == {"needed": cpus + extra_vcpus, "available": cpus}
