"""Each preflight check reports bad facts, and reports OK for healthy facts."""

from dataclasses import replace

import pytest

from migqual.errors import GuardRefusal
from migqual.hosts.domain import DomainState
from migqual.hosts.host_identity import HostIdentity
from migqual.model.finding import Severity
from migqual.preflight.checks import CHECKS
from migqual.preflight.facts import AgentState, ConnectionPurpose
from migqual.preflight.run import raise_if_refused
from suites.selftest.support.fact_changes import (
    UNKNOWN_FACT,
    FactChange,
    assert_check_fires,
    change_facts,
    change_part,
    combine_changes,
    evaluate_changed_facts,
    fail_connection,
)
from suites.selftest.support.preflight_facts import HOST_CPU, make_network_segment

pytestmark = pytest.mark.selftest

DIFFERENT_CPU = change_part("destination", cpu=replace(HOST_CPU, signature="model 7"))
HOST_PASSTHROUGH_CPU = change_part("definition", cpu_mode="host-passthrough")
FIRING_CASES = [
    (
        "LM-PRE-01.control",
        fail_connection(ConnectionPurpose.CONTROL, succeeded=False),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-01.control",
        fail_connection(ConnectionPurpose.CONTROL, succeeded=UNKNOWN_FACT),
        Severity.UNKNOWN,
    ),
    ("LM-PRE-01.data", fail_connection(ConnectionPurpose.DATA, succeeded=False), Severity.REFUSED),
    ("LM-PRE-01.data", change_facts(connection_attempts=()), Severity.UNKNOWN),
    (
        "LM-PRE-01.libvirt",
        fail_connection(ConnectionPurpose.LIBVIRT, succeeded=False),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-01.identity",
        change_part("destination", identity=HostIdentity("uuid of a", "b")),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-01.identity",
        change_part("destination", identity=HostIdentity("", "a")),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-02.network",
        change_facts(
            segments=(make_network_segment(destination_bridge=UNKNOWN_FACT, frames_pass=False),)
        ),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-02.network",
        change_facts(segments=(make_network_segment(frames_pass=False),)),
        Severity.REFUSED,
    ),
    (
        "LM-PRE-02.network",
        change_facts(segments=(make_network_segment(frames_pass=UNKNOWN_FACT),)),
        Severity.UNKNOWN,
    ),
    ("LM-PRE-03.running", change_part("health", state=DomainState.PAUSED), Severity.REFUSED),
    ("LM-PRE-03.running", change_part("health", state=DomainState.SHUT_OFF), Severity.REFUSED),
    (
        "LM-PRE-03.job",
        change_part("health", job="unbounded, virDomainJobOperation 5"),
        Severity.REFUSED,
    ),
    ("LM-PRE-03.job", change_part("health", job=UNKNOWN_FACT), Severity.UNKNOWN),
    (
        "LM-PRE-03.agent",
        change_part("health", agent_state=AgentState.NOT_RESPONDING),
        Severity.REFUSED,
    ),
    ("LM-PRE-03.agent", change_part("health", agent_state=AgentState.NO_CHANNEL), Severity.WARNING),
    ("LM-PRE-03.agent", change_part("health", agent_state=UNKNOWN_FACT), Severity.UNKNOWN),
    ("LM-PRE-03.disks", change_part("health", disk_errors={"vda": "error 1"}), Severity.REFUSED),
    ("LM-PRE-03.disks", change_part("health", disk_errors=UNKNOWN_FACT), Severity.UNKNOWN),
    ("LM-PRE-03.snapshots", change_part("health", snapshots=("before",)), Severity.REFUSED),
    ("LM-PRE-03.snapshots", change_part("health", snapshots=UNKNOWN_FACT), Severity.UNKNOWN),
    ("LM-PRE-03.devices", change_part("definition", blockers=("host device",)), Severity.REFUSED),
    ("LM-PRE-03.devices", change_part("health", qemu_blockers=("ivshmem",)), Severity.REFUSED),
    ("LM-PRE-03.devices", change_part("health", qemu_blockers=UNKNOWN_FACT), Severity.UNKNOWN),
    ("LM-PRE-04.cpu", change_part("definition", vcpus=289), Severity.REFUSED),
    ("LM-PRE-04.cpu", change_part("destination", arch="aarch64"), Severity.REFUSED),
    (
        "LM-PRE-04.cpu",
        change_part("destination_hypervisor", max_vcpus=UNKNOWN_FACT),
        Severity.UNKNOWN,
    ),
    ("LM-PRE-04.memory", change_part("definition", memory_mib=8192), Severity.REFUSED),
    ("LM-PRE-04.memory", change_part("destination", available_mib=UNKNOWN_FACT), Severity.UNKNOWN),
    (
        "LM-PRE-04.memory",
        combine_changes(
            change_part("definition", hugepage_kib=2048),
            change_part("destination", free_hugepages_mib=510),
        ),
        Severity.REFUSED,
    ),
    ("LM-RES-09.hosts", DIFFERENT_CPU, Severity.WARNING),
    ("LM-RES-09.hosts", combine_changes(DIFFERENT_CPU, HOST_PASSTHROUGH_CPU), Severity.REFUSED),
    (
        "LM-RES-09.hosts",
        combine_changes(
            DIFFERENT_CPU, change_part("destination_hypervisor", cpu_comparison="lacks avx")
        ),
        Severity.REFUSED,
    ),
    (
        "LM-RES-09.hosts",
        change_facts(host_cpu_comparison=("superset", "incompatible")),
        Severity.WARNING,
    ),
    ("LM-RES-09.hosts", change_part("source", cpu=UNKNOWN_FACT), Severity.UNKNOWN),
    (
        "LM-RES-09.guest",
        change_part("destination_hypervisor", cpu_comparison="lacks avx"),
        Severity.REFUSED,
    ),
    (
        "LM-RES-09.guest",
        change_part("destination_hypervisor", cpu_comparison=UNKNOWN_FACT),
        Severity.UNKNOWN,
    ),
    (
        "LM-RES-10.segment",
        change_facts(segments=(make_network_segment(frames_pass=False),)),
        Severity.REFUSED,
    ),
    (
        "LM-RES-10.segment",
        change_facts(segments=(make_network_segment(frames_pass=UNKNOWN_FACT),)),
        Severity.UNKNOWN,
    ),
    ("LM-RES-11.cpus", change_part("definition", vcpus=3), Severity.WARNING),
]


@pytest.mark.parametrize(
    ("check", "change", "severity"),
    FIRING_CASES,
    ids=[f"{index}-{row[0]}-{row[2]}" for index, row in enumerate(FIRING_CASES)],
)
def test_check_fires(check: str, change: FactChange, severity: Severity) -> None:
    assert_check_fires(check, change, severity)


def test_every_check_is_ok_on_healthy_facts() -> None:
    findings_by_id = evaluate_changed_facts()

    assert {
        finding_id
        for finding_id, findings in findings_by_id.items()
        if any(finding.severity is not Severity.OK for finding in findings)
    } == set()
    assert all(
        any(finding_id.startswith(check.id) for finding_id in findings_by_id) for check in CHECKS
    )
    assert not any(finding.remedy for findings in findings_by_id.values() for finding in findings)


def test_every_check_has_a_firing_case() -> None:
    fired_ids = {check for check, _, _ in FIRING_CASES}

    assert [
        check.id
        for check in CHECKS
        if not any(fired_id.startswith(check.id) for fired_id in fired_ids)
    ] == []


def test_only_refusals_raise_guard_refusal() -> None:
    change = combine_changes(
        change_part("health", state=DomainState.PAUSED), change_part("definition", vcpus=3)
    )
    findings = [
        finding
        for check_findings in evaluate_changed_facts(change).values()
        for finding in check_findings
    ]

    with pytest.raises(GuardRefusal) as error_info:
        raise_if_refused(findings)
    assert [finding.id for finding in error_info.value.findings] == ["LM-PRE-03.running"]
    raise_if_refused(finding for finding in findings if finding.severity is not Severity.REFUSED)
