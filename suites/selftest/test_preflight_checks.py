"""Each check of preflight fires on the facts that it is for, and is silent on healthy ones."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from migqual.errors import GuardRefusal
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Control, Plan, Safety, StorageCopy
from migqual.preflight.checks import CHECKS, STORAGE_CHECKS, run_checks
from migqual.preflight.facts import (
    Agent,
    Channel,
    Fact,
    Facts,
    FileSystem,
    Login,
    Missing,
    Place,
    Seen,
    Space,
)
from migqual.preflight.run import guard
from suites.selftest.preflight_facts import CPU, LOGIN, disk, healthy, segment

pytestmark = pytest.mark.selftest
WHY = Missing("nobody answered")
Change = Callable[[Seen], Seen]


def of(**changes: Any) -> Change:  # noqa: ANN401 - any field
    return lambda seen: replace(seen, **changes)


def part(name: str, **changes: Any) -> Change:  # noqa: ANN401
    """Facts with fields of one part changed."""
    return lambda seen: replace(seen, **{name: replace(getattr(seen, name), **changes)})


def both(*changes: Change) -> Change:
    def change(seen: Seen) -> Seen:
        for one in changes:
            seen = one(seen)
        return seen

    return change


def cut(channel: Channel, *, passed: bool | Missing) -> Change:
    def change(seen: Seen) -> Seen:
        first = next(one for one in seen.reaches if one.channel is channel)
        others = tuple(one for one in seen.reaches if one is not first)
        return replace(seen, reaches=(replace(first, passed=passed, words="refused"), *others))

    return change


def local(**changes: Any) -> Change:  # noqa: ANN401
    return of(disks=(disk("vda", Place.LOCAL, **changes),))


EXT4 = FileSystem(0xEF53, "ext2/ext3")


def on(filesystem: Fact[FileSystem], *, readonly: bool = False) -> Change:
    """The guest's disk is a file that both hosts use, on such a file system."""
    one = disk("vda", Place.SHARED, filesystem=filesystem, readonly=readonly)
    return of(disks=(one,))


def judged(change: Change | None = None) -> dict[str, list[Finding]]:
    seen = healthy() if change is None else change(healthy())
    found: dict[str, list[Finding]] = {}
    for finding in run_checks(Facts((LOGIN, LOGIN), seen)):
        found.setdefault(finding.id, []).append(finding)
    return found


OTHER_CPU = part("destination", cpu=replace(CPU, hardware="model 7"))
OWN_CPU = part("definition", cpu_mode="host-passthrough")
FIRES = [
    ("LM-PRE-01.control", cut(Channel.CONTROL, passed=False), Severity.REFUSED),
    ("LM-PRE-01.control", cut(Channel.CONTROL, passed=WHY), Severity.UNKNOWN),
    ("LM-PRE-01.data", cut(Channel.DATA, passed=False), Severity.REFUSED),
    ("LM-PRE-01.data", of(reaches=()), Severity.UNKNOWN),
    ("LM-PRE-01.libvirt", cut(Channel.LIBVIRT, passed=False), Severity.REFUSED),
    ("LM-PRE-02.storage", of(disks=(disk("vda", Place.UNREACHABLE),)), Severity.REFUSED),
    ("LM-PRE-02.storage", local(), Severity.REFUSED),
    ("LM-PRE-02.storage", of(disks=(disk("vda", Place.AMBIGUOUS),)), Severity.UNKNOWN),
    ("LM-PRE-02.network", of(segments=(segment(there=WHY, passed=False),)), Severity.REFUSED),
    ("LM-PRE-02.network", of(segments=(segment(passed=False),)), Severity.REFUSED),
    ("LM-PRE-02.network", of(segments=(segment(passed=WHY),)), Severity.UNKNOWN),
    ("LM-PRE-03.running", part("health", state="paused"), Severity.REFUSED),
    ("LM-PRE-03.running", part("health", state="off"), Severity.REFUSED),
    ("LM-PRE-03.job", part("health", job="unbounded, operation 5"), Severity.REFUSED),
    ("LM-PRE-03.job", part("health", job=WHY), Severity.UNKNOWN),
    ("LM-PRE-03.agent", part("health", agent=Agent.SILENT), Severity.REFUSED),
    ("LM-PRE-03.agent", part("health", agent=Agent.NO_CHANNEL), Severity.WARNING),
    ("LM-PRE-03.agent", part("health", agent=WHY), Severity.UNKNOWN),
    ("LM-PRE-03.disks", part("health", disk_errors={"vda": "error 1"}), Severity.REFUSED),
    ("LM-PRE-03.disks", part("health", disk_errors=WHY), Severity.UNKNOWN),
    ("LM-PRE-03.devices", part("definition", blockers=("host device",)), Severity.REFUSED),
    ("LM-PRE-03.devices", part("health", qemu_blockers=("ivshmem",)), Severity.REFUSED),
    ("LM-PRE-03.devices", part("health", qemu_blockers=WHY), Severity.UNKNOWN),
    ("LM-PRE-04.cpu", part("definition", vcpus=289), Severity.REFUSED),
    ("LM-PRE-04.cpu", part("destination", arch="aarch64"), Severity.REFUSED),
    ("LM-PRE-04.cpu", part("offer", max_vcpus=WHY), Severity.UNKNOWN),
    ("LM-PRE-04.memory", part("definition", memory_mib=8192), Severity.REFUSED),
    ("LM-PRE-04.memory", part("destination", available_mib=WHY), Severity.UNKNOWN),
    (
        "LM-PRE-04.memory",
        both(
            part("definition", hugepage_kib=2048),
            part("destination", free_hugepages_mib=510),
        ),
        Severity.REFUSED,
    ),
    ("LM-PRE-04.storage", local(space=Space(100, 99, "/")), Severity.REFUSED),
    ("LM-PRE-04.storage", local(space=WHY), Severity.UNKNOWN),
    ("LM-RES-09.hosts", OTHER_CPU, Severity.WARNING),
    ("LM-RES-09.hosts", both(OTHER_CPU, OWN_CPU), Severity.REFUSED),
    ("LM-RES-09.hosts", both(OTHER_CPU, part("offer", cpu="lacks avx")), Severity.REFUSED),
    ("LM-RES-09.hosts", of(host_cpus=("superset", "incompatible")), Severity.WARNING),
    ("LM-RES-09.hosts", part("source", cpu=WHY), Severity.UNKNOWN),
    ("LM-RES-09.guest", part("offer", cpu="lacks avx"), Severity.REFUSED),
    ("LM-RES-09.guest", part("offer", cpu=WHY), Severity.UNKNOWN),
    ("LM-RES-10.segment", of(segments=(segment(passed=False),)), Severity.REFUSED),
    ("LM-RES-10.segment", of(segments=(segment(passed=WHY),)), Severity.UNKNOWN),
    ("LM-RES-11.cpus", part("definition", vcpus=3), Severity.WARNING),
    ("LM-SHR-01.vda", of(disks=(disk("vda", Place.AMBIGUOUS),)), Severity.UNKNOWN),
    ("LM-SHR-01.vda", of(disks=(disk("vda", Place.UNREACHABLE),)), Severity.WARNING),
    ("LM-SHR-02.safety", on(EXT4), Severity.WARNING),
    ("LM-SHR-02.safety", on(FileSystem(0xFE534D42, "smb2")), Severity.WARNING),
    ("LM-SHR-02.safety", on(FileSystem(0x65735546, "fuse.sshfs")), Severity.WARNING),
    ("LM-SHR-02.safety", on(WHY), Severity.WARNING),
]


@pytest.mark.parametrize(
    ("check", "change", "verdict"),
    FIRES,
    ids=[f"{n}-{row[0]}-{row[2]}" for n, row in enumerate(FIRES)],
)
def test_check_fires(check: str, change: Change, verdict: Severity) -> None:
    (finding,) = judged(change)[check]

    assert finding.verdict is verdict
    assert finding.words
    assert finding.remedy


@pytest.mark.parametrize(
    "change",
    [
        on(FileSystem(0x6969, "nfs")),
        on(FileSystem(0x65735546, "fuse.glusterfs")),
        on(EXT4, readonly=True),
        both(on(EXT4), of(plan=Plan(safety=Safety.UNSAFE))),
        both(on(EXT4), of(plan=Plan(copy_storage=StorageCopy.ALL))),
    ],
    ids=["nfs", "fuse", "read-only", "overridden", "copied"],
)
def test_the_safety_check_has_nothing_to_refuse(change: Change) -> None:
    """What libvirt does not ask of, no one is warned of."""
    (finding,) = judged(change)["LM-SHR-02.safety"]

    assert finding.verdict is Severity.OK


def test_every_check_is_silent_on_healthy_facts() -> None:
    found = judged()

    assert {
        name for name, one in found.items() if any(f.verdict is not Severity.OK for f in one)
    } == set()
    assert all(any(name.startswith(check.id) for name in found) for check in CHECKS)
    assert not any(finding.remedy for one in found.values() for finding in one)


def test_every_check_of_the_table_has_a_row_that_fires() -> None:
    fired = {check for check, _, _ in FIRES}

    assert [
        check.id for check in CHECKS if not any(one.startswith(check.id) for one in fired)
    ] == []


@pytest.mark.parametrize(
    ("login", "check", "verdict"),
    [
        (replace(LOGIN, key=WHY), "key", Severity.REFUSED),
        (replace(LOGIN, methods=frozenset({"password"})), "password", Severity.REFUSED),
        (replace(LOGIN, methods=frozenset({"keyboard-interactive"})), "password", Severity.REFUSED),
        (replace(LOGIN, methods=frozenset({"none"})), "password", Severity.REFUSED),
        (replace(LOGIN, methods=WHY), "password", Severity.UNKNOWN),
        (replace(LOGIN, wrong_key=True), "wrong-key", Severity.REFUSED),
        (replace(LOGIN, wrong_key=WHY), "wrong-key", Severity.UNKNOWN),
        (replace(LOGIN, unknown_host=True), "host-key", Severity.REFUSED),
        (replace(LOGIN, unknown_host=WHY), "host-key", Severity.UNKNOWN),
    ],
    ids=str,
)
def test_login_check_fires(login: Login, check: str, verdict: Severity) -> None:
    found = run_checks(Facts((login,), healthy()))

    (finding,) = [one for one in found if one.id == f"LM-PRE-05.{check}"]
    assert finding.verdict is verdict
    assert finding.remedy


def test_a_closed_door_leaves_nothing_ok() -> None:
    found = run_checks(Facts((replace(LOGIN, key=WHY),), WHY))

    rest = [one for one in found if not one.id.startswith("LM-PRE-05")]
    assert len(rest) == len(CHECKS) + len(STORAGE_CHECKS)
    assert {one.verdict for one in rest} == {Severity.UNKNOWN}


def test_managed_direct_needs_no_libvirt_between_the_hosts() -> None:
    change = both(cut(Channel.LIBVIRT, passed=False), of(plan=Plan(control=Control.DIRECT)))

    assert judged(change)["LM-PRE-01.libvirt"][0].verdict is Severity.OK


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Severity.OK),
        ({"readonly": True}, Severity.REFUSED),
        ({"shareable": True}, Severity.REFUSED),
    ],
    ids=["plain", "readonly", "shareable"],
)
def test_plan_that_copies_covers_plain_local_disks(
    changes: dict[str, bool], verdict: Severity
) -> None:
    change = both(local(**changes), of(plan=Plan(copy_storage=StorageCopy.ALL)))

    assert judged(change)["LM-PRE-02.storage"][0].verdict is verdict


def test_named_disks_are_the_ones_that_are_copied() -> None:
    plan = Plan(copy_storage=StorageCopy.ALL, migrate_disks=("vdb",))

    assert judged(both(local(), of(plan=plan)))["LM-PRE-02.storage"][0].verdict is Severity.REFUSED


def test_needs_on_one_file_system_add_up() -> None:
    disks = tuple(disk(name, Place.LOCAL, space=Space(60, 100, "/")) for name in ("vda", "vdb"))

    (finding,) = judged(of(disks=disks))["LM-PRE-04.storage"]

    assert finding.verdict is Severity.REFUSED
    assert finding.figures == {"needed_mib": 120, "available_mib": 100}


def test_both_directions_are_asked_for() -> None:
    one_way = of(reaches=tuple(one for one in healthy().reaches if one.origin == "a"))

    assert judged(one_way)["LM-PRE-01.data"][0].verdict is Severity.UNKNOWN


def test_guard_raises_what_is_refused_and_nothing_else() -> None:
    change = both(part("health", state="paused"), part("definition", vcpus=3))
    found = [finding for one in judged(change).values() for finding in one]

    with pytest.raises(GuardRefusal) as refusal:
        guard(found)
    assert [one.id for one in refusal.value.findings] == ["LM-PRE-03.running"]
    guard(one for one in found if one.verdict is not Severity.REFUSED)


def test_a_reach_tells_where_it_went() -> None:
    finding = judged(cut(Channel.DATA, passed=False))["LM-PRE-01.data"][0]

    assert "a to b (10.0.0.2 port 1)" in finding.words
