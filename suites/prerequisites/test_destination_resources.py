"""LM-PRE-04: the destination has enough CPU, memory and storage for the guest."""

import re
from dataclasses import replace

import pytest

from fixtures.plugins.preflight import PreflightRunner, define_inactive_copy, select_worst_findings
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.inventory.entities import Inventory
from migqual.inventory.stores import LocalStore, StoreKind
from migqual.model.finding import Severity
from migqual.model.guest_spec import DiskFormat, DiskSpec
from migqual.model.plan import Plan, StorageCopy
from migqual.preflight.checks import evaluate_facts
from migqual.preflight.facts import MigrationFacts
from migqual.readiness.store_checks import find_existing_parent
from migqual.testbed.host_pair import HostPair

GIB_IN_MIB = 2**10


def query_memory_mib(host: Host) -> int:
    """Query the size of the host's memory in MiB."""
    (kib,) = re.findall(
        r"^MemTotal: +(\d+) kB$", host.shell.run("cat", "/proc/meminfo").stdout, re.MULTILINE
    )
    return int(kib) // 1024


def query_free_mib(host: Host, inventory: Inventory) -> int:
    """Query the free space of the local store on the host in MiB."""
    store = inventory.find_store(StoreKind.LOCAL)
    assert isinstance(store, LocalStore)
    folder = find_existing_parent(host, store.path)
    return int(host.shell.run("df", "-Pm", "--", folder).stdout.split()[-3])


@pytest.mark.requirement("LM-PRE-04")
def test_more_memory_than_the_destination_has(
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    provisioner: Provisioner,
    pair: HostPair,
) -> None:
    """
    A guest too large for the destination's memory is refused.

    Preconditions: a definition of a guest that is 1 GiB larger than the destination's memory. The
    guest is never started.
    Expected: preflight refuses. The finding states the needed and the available memory, and the
    needed memory is larger.
    """
    memory_mib = query_memory_mib(pair.destination) + GIB_IN_MIB
    with define_inactive_copy(
        provisioner, shared_idle_guest, memory=str(memory_mib * 1024)
    ) as name:
        finding = run_preflight(name)["LM-PRE-04.memory"]

    assert finding.severity is Severity.REFUSED
    assert float(finding.figures["needed_mib"]) >= memory_mib
    assert 0 < float(finding.figures["available_mib"]) < memory_mib


@pytest.mark.requirement("LM-PRE-04")
def test_more_vcpus_than_the_hypervisor_has(
    run_preflight: PreflightRunner, shared_idle_guest: Guest
) -> None:
    """
    A guest with more vCPUs than the destination's hypervisor can provide is refused.

    Preconditions: the facts of a real pair. The test changes the number of vCPUs in the facts to
    one more than the limit of the destination's machine type.
    Expected: preflight refuses, and the finding states both numbers. With the real number of
    vCPUs the check is ok.
    """
    facts = run_preflight.collect_facts(shared_idle_guest.name)
    assert isinstance(facts.migration, MigrationFacts)
    max_vcpus = facts.migration.destination_hypervisor.max_vcpus
    assert isinstance(max_vcpus, int)
    assert select_worst_findings(evaluate_facts(facts))["LM-PRE-04.cpu"].severity is Severity.OK

    oversized_guest = replace(
        facts.migration, definition=replace(facts.migration.definition, vcpus=max_vcpus + 1)
    )
    finding = select_worst_findings(evaluate_facts(replace(facts, migration=oversized_guest)))[
        "LM-PRE-04.cpu"
    ]

    assert finding.severity is Severity.REFUSED
    assert finding.figures == {"needed": max_vcpus + 1, "available": max_vcpus}


@pytest.mark.requirement("LM-PRE-04")
@pytest.mark.parametrize("verdict", [Severity.OK, Severity.REFUSED], ids=["fits", "does-not-fit"])
def test_free_space_for_copied_disks(
    verdict: Severity,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    provisioner: Provisioner,
    pair: HostPair,
) -> None:
    """
    A copied local disk needs free space for the virtual size, not only for the allocated size.

    Preconditions: an empty qcow2 image on the local store of the source. In the first case the
    virtual size is 64 MiB. In the second case the virtual size is 1 GiB more than the free space of
    the destination.
    Expected: preflight refuses only the second case. In both cases the finding states the virtual
    size as the needed space.
    """
    size_mib = 64
    if verdict is Severity.REFUSED:
        size_mib = query_free_mib(pair.destination, provisioner.inventory) + GIB_IN_MIB
    disk = DiskSpec(StoreKind.LOCAL, DiskFormat.QCOW2, size_mib=size_mib)
    with define_inactive_copy(provisioner, shared_idle_guest, disk) as name:
        finding = run_preflight(name, Plan(copy_storage=StorageCopy.ALL))["LM-PRE-04.storage"]

    assert finding.severity is verdict
    assert finding.figures["needed_mib"] == size_mib


@pytest.mark.requirement("LM-PRE-04")
def test_shared_disks_need_no_free_space(
    run_preflight: PreflightRunner, shared_idle_guest: Guest
) -> None:
    """
    Disks on shared stores need no free space in the local store of the destination.

    Preconditions: a guest with all disks on shared stores.
    Expected: the check is ok, and the needed space is 0.
    """
    finding = run_preflight(shared_idle_guest.name)["LM-PRE-04.storage"]

    assert finding.severity is Severity.OK
    assert finding.figures["needed_mib"] == 0
