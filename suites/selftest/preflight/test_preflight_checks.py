"""Each preflight check reports bad facts, and reports OK for healthy facts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from migqual.errors import GuardRefusal
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Control, Plan, Safety, StorageCopy
from migqual.preflight.checks import CHECKS, STORAGE_CHECKS, evaluate_facts
from migqual.preflight.facts import (
    AgentState,
    ConnectionPurpose,
    CopySpace,
    DiskLocation,
    FileSystem,
    MigrationFacts,
    PreflightFacts,
    SshLogin,
)
from migqual.preflight.run import raise_if_refused
from migqual.probes.fact import Fact, Missing
from suites.selftest.support.preflight_facts import (
    HOST_CPU,
    SAFE_LOGIN,
    make_disk_fact,
    make_healthy_facts,
    make_network_segment,
)

pytestmark = pytest.mark.selftest
UNKNOWN_FACT = Missing("nobody answered")
FactChange = Callable[[MigrationFacts], MigrationFacts]


def change_facts(**changes: Any) -> FactChange:  # noqa: ANN401 - any field
    return lambda facts: replace(facts, **changes)


def change_part(name: str, **changes: Any) -> FactChange:  # noqa: ANN401
    """Change fields of a single part of the facts."""
    return lambda facts: replace(facts, **{name: replace(getattr(facts, name), **changes)})


def combine_changes(*changes: FactChange) -> FactChange:
    def apply_changes(facts: MigrationFacts) -> MigrationFacts:
        for change in changes:
            facts = change(facts)
        return facts

    return apply_changes


def fail_connection(purpose: ConnectionPurpose, *, succeeded: bool | Missing) -> FactChange:
    def replace_attempt(facts: MigrationFacts) -> MigrationFacts:
        first_attempt = next(
            attempt for attempt in facts.connection_attempts if attempt.purpose is purpose
        )
        other_attempts = tuple(
            attempt for attempt in facts.connection_attempts if attempt is not first_attempt
        )
        return replace(
            facts,
            connection_attempts=(
                replace(first_attempt, succeeded=succeeded, message="refused"),
                *other_attempts,
            ),
        )

    return replace_attempt


def make_disk_local(**disk_fields: Any) -> FactChange:  # noqa: ANN401
    return change_facts(disks=(make_disk_fact("vda", DiskLocation.LOCAL, **disk_fields),))


EXT4 = FileSystem(0xEF53, "ext2/ext3")


def place_disk_on(filesystem: Fact[FileSystem], *, readonly: bool = False) -> FactChange:
    """Put the guest's disk into a file, shared by both hosts, on the given file system."""
    disk_fact = make_disk_fact("vda", DiskLocation.SHARED, filesystem=filesystem, readonly=readonly)
    return change_facts(disks=(disk_fact,))


def evaluate_changed_facts(change: FactChange | None = None) -> dict[str, list[Finding]]:
    facts = make_healthy_facts() if change is None else change(make_healthy_facts())
    findings_by_id: dict[str, list[Finding]] = {}
    for finding in evaluate_facts(PreflightFacts((SAFE_LOGIN, SAFE_LOGIN), facts)):
        findings_by_id.setdefault(finding.id, []).append(finding)
    return findings_by_id


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
        "LM-PRE-02.storage",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.UNREACHABLE),)),
        Severity.REFUSED,
    ),
    ("LM-PRE-02.storage", make_disk_local(), Severity.REFUSED),
    (
        "LM-PRE-02.storage",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.AMBIGUOUS),)),
        Severity.UNKNOWN,
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
    ("LM-PRE-03.running", change_part("health", state="paused"), Severity.REFUSED),
    ("LM-PRE-03.running", change_part("health", state="off"), Severity.REFUSED),
    ("LM-PRE-03.job", change_part("health", job="unbounded, operation 5"), Severity.REFUSED),
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
    ("LM-PRE-04.storage", make_disk_local(space=CopySpace(100, 99, "/")), Severity.REFUSED),
    ("LM-PRE-04.storage", make_disk_local(space=UNKNOWN_FACT), Severity.UNKNOWN),
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
    (
        "LM-SHR-01.vda",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.AMBIGUOUS),)),
        Severity.UNKNOWN,
    ),
    (
        "LM-SHR-01.vda",
        change_facts(disks=(make_disk_fact("vda", DiskLocation.UNREACHABLE),)),
        Severity.WARNING,
    ),
    ("LM-SHR-02.safety", place_disk_on(EXT4), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(FileSystem(0xFE534D42, "smb2")), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(FileSystem(0x65735546, "fuse.sshfs")), Severity.WARNING),
    ("LM-SHR-02.safety", place_disk_on(UNKNOWN_FACT), Severity.WARNING),
]


@pytest.mark.parametrize(
    ("check", "change", "severity"),
    FIRING_CASES,
    ids=[f"{index}-{row[0]}-{row[2]}" for index, row in enumerate(FIRING_CASES)],
)
def test_check_fires(check: str, change: FactChange, severity: Severity) -> None:
    (finding,) = evaluate_changed_facts(change)[check]

    assert finding.severity is severity
    assert finding.message
    assert finding.remedy


@pytest.mark.parametrize(
    "change",
    [
        place_disk_on(FileSystem(0x6969, "nfs")),
        place_disk_on(FileSystem(0x65735546, "fuse.glusterfs")),
        place_disk_on(EXT4, readonly=True),
        combine_changes(place_disk_on(EXT4), change_facts(plan=Plan(safety=Safety.UNSAFE))),
        combine_changes(place_disk_on(EXT4), change_facts(plan=Plan(copy_storage=StorageCopy.ALL))),
    ],
    ids=["nfs", "fuse", "read-only", "overridden", "copied"],
)
def test_libvirt_safety_check_accepts_disk(change: FactChange) -> None:
    """A disk accepted or skipped by libvirt's safety check causes no warning."""
    (finding,) = evaluate_changed_facts(change)["LM-SHR-02.safety"]

    assert finding.severity is Severity.OK


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


@pytest.mark.parametrize(
    ("login", "check", "severity"),
    [
        (replace(SAFE_LOGIN, accepts_inventory_key=UNKNOWN_FACT), "key", Severity.REFUSED),
        (
            replace(SAFE_LOGIN, keyless_methods=frozenset({"password"})),
            "password",
            Severity.REFUSED,
        ),
        (
            replace(SAFE_LOGIN, keyless_methods=frozenset({"keyboard-interactive"})),
            "password",
            Severity.REFUSED,
        ),
        (replace(SAFE_LOGIN, keyless_methods=frozenset({"none"})), "password", Severity.REFUSED),
        (replace(SAFE_LOGIN, keyless_methods=UNKNOWN_FACT), "password", Severity.UNKNOWN),
        (replace(SAFE_LOGIN, accepts_wrong_key=True), "wrong-key", Severity.REFUSED),
        (replace(SAFE_LOGIN, accepts_wrong_key=UNKNOWN_FACT), "wrong-key", Severity.UNKNOWN),
        (replace(SAFE_LOGIN, accepts_unknown_host_key=True), "host-key", Severity.REFUSED),
        (replace(SAFE_LOGIN, accepts_unknown_host_key=UNKNOWN_FACT), "host-key", Severity.UNKNOWN),
    ],
    ids=str,
)
def test_ssh_login_check_fires(login: SshLogin, check: str, severity: Severity) -> None:
    findings = evaluate_facts(PreflightFacts((login,), make_healthy_facts()))

    (finding,) = [finding for finding in findings if finding.id == f"LM-PRE-05.{check}"]
    assert finding.severity is severity
    assert finding.remedy


def test_failed_ssh_login_makes_other_checks_unknown() -> None:
    findings = evaluate_facts(
        PreflightFacts((replace(SAFE_LOGIN, accepts_inventory_key=UNKNOWN_FACT),), UNKNOWN_FACT)
    )

    other_findings = [finding for finding in findings if not finding.id.startswith("LM-PRE-05")]
    assert len(other_findings) == len(CHECKS) + len(STORAGE_CHECKS)
    assert {finding.severity for finding in other_findings} == {Severity.UNKNOWN}


def test_managed_direct_needs_no_libvirt_between_the_hosts() -> None:
    change = combine_changes(
        fail_connection(ConnectionPurpose.LIBVIRT, succeeded=False),
        change_facts(plan=Plan(control=Control.DIRECT)),
    )

    assert evaluate_changed_facts(change)["LM-PRE-01.libvirt"][0].severity is Severity.OK


@pytest.mark.parametrize(
    ("disk_fields", "severity"),
    [
        ({}, Severity.OK),
        ({"readonly": True}, Severity.REFUSED),
        ({"shareable": True}, Severity.REFUSED),
    ],
    ids=["plain", "readonly", "shareable"],
)
def test_copy_plan_covers_plain_local_disks(
    disk_fields: dict[str, bool], severity: Severity
) -> None:
    change = combine_changes(
        make_disk_local(**disk_fields), change_facts(plan=Plan(copy_storage=StorageCopy.ALL))
    )

    assert evaluate_changed_facts(change)["LM-PRE-02.storage"][0].severity is severity


def test_only_named_disks_are_copied() -> None:
    plan = Plan(copy_storage=StorageCopy.ALL, migrate_disks=("vdb",))

    assert (
        evaluate_changed_facts(combine_changes(make_disk_local(), change_facts(plan=plan)))[
            "LM-PRE-02.storage"
        ][0].severity
        is Severity.REFUSED
    )


def test_disk_space_on_the_same_file_system_adds_up() -> None:
    disks = tuple(
        make_disk_fact(name, DiskLocation.LOCAL, space=CopySpace(60, 100, "/"))
        for name in ("vda", "vdb")
    )

    (finding,) = evaluate_changed_facts(change_facts(disks=disks))["LM-PRE-04.storage"]

    assert finding.severity is Severity.REFUSED
    assert finding.figures == {"needed_mib": 120, "available_mib": 100}


def test_data_port_is_needed_in_both_directions() -> None:
    one_way = change_facts(
        connection_attempts=tuple(
            attempt for attempt in make_healthy_facts().connection_attempts if attempt.host == "a"
        )
    )

    assert evaluate_changed_facts(one_way)["LM-PRE-01.data"][0].severity is Severity.UNKNOWN


def test_only_refusals_raise_guard_refusal() -> None:
    change = combine_changes(
        change_part("health", state="paused"), change_part("definition", vcpus=3)
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


def test_connection_finding_names_hosts_and_endpoint() -> None:
    finding = evaluate_changed_facts(fail_connection(ConnectionPurpose.DATA, succeeded=False))[
        "LM-PRE-01.data"
    ][0]

    assert "a to b (10.0.0.2 port 1)" in finding.message
