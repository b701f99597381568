"""Facts about the guest itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from migqual.errors import GuestError, HostError
from migqual.hosts import questions
from migqual.hosts.domain import Domain
from migqual.preflight.definition import Definition
from migqual.preflight.facts import Agent, Fact, Health, Missing
from migqual.preflight.tools import Probes, had

AGENT_SECONDS = 1
# virDomainJobType: bounded and unbounded ones run, the others are over
_RUNS = {1: "bounded", 2: "unbounded"}
# counters of failed operations in QEMU; a refused discard is no error of the disk
_FAILED = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations")
_ALIVE = {"running", "paused"}


def health(domain: Domain, definition: Definition, probes: Probes) -> Health:
    """Ask the domain. With read-only probes nothing that marks the domain as meddled with."""
    state = domain.state()
    runs = had(lambda: job(domain))
    if runs != "none":
        # most questions would wait for the job until libvirt gives up
        busy = Missing("a job is active")
        return Health(state, runs, busy, busy, busy)
    return Health(
        state=state,
        job=runs,
        agent=agent(domain, definition, state, probes),
        disk_errors=had(lambda: disk_errors(domain, definition, state, probes)),
        qemu_blockers=had(lambda: qemu_blockers(domain, state, probes)),
    )


def job(domain: Domain) -> str:
    """``none``, or the kind of the job that runs."""
    stats = domain.job_stats()
    kind = _RUNS.get(int(stats.get("type", 0)))
    return "none" if kind is None else f"{kind}, operation {stats.get('operation', 'unknown')}"


def agent(domain: Domain, definition: Definition, state: str, probes: Probes) -> Fact[Agent]:
    """Whether the guest agent answers. Only a running guest can."""
    if not definition.agent_channel:
        return Agent.NO_CHANNEL
    if state != "running":
        return Missing(f"the guest is {state}")
    try:
        if probes is Probes.WRITING:
            domain.agent("guest-ping", seconds=AGENT_SECONDS)
        else:
            questions.agent_clock(domain)
    except GuestError:
        return Agent.SILENT
    return Agent.ANSWERS


def disk_errors(
    domain: Domain, definition: Definition, state: str, probes: Probes
) -> Mapping[str, str]:
    """Target to what is wrong: libvirt's list, and QEMU's status and counts of failures."""
    if state not in _ALIVE:
        raise HostError(domain.host, f"a guest that is {state} has no disks to ask")
    found = {
        target: f"stopped on error {code}" for target, code in questions.disk_errors(domain).items()
    }
    if probes is Probes.WRITING:
        targets = {disk.alias: disk.target for disk in definition.disks}
        for device, words in _complaints(domain):
            found[targets.get(_alias(device), device)] = words
    return found


def qemu_blockers(domain: Domain, state: str, probes: Probes) -> tuple[str, ...]:
    """QEMU's own reasons why the guest cannot be migrated (QEMU 6.0 and later)."""
    if probes is Probes.READ_ONLY or state not in _ALIVE:
        return ()
    answer: dict[str, Any] = domain.monitor("query-migrate")
    return tuple(str(reason) for reason in answer.get("blocked-reasons", ()))


def _complaints(domain: Domain) -> Iterator[tuple[str, str]]:
    """Device and what QEMU has against it."""
    for one in domain.monitor("query-blockstats"):
        failed = sum(int(one["stats"].get(name, 0)) for name in _FAILED)
        if failed:
            device = str(one.get("qdev") or one.get("device"))
            yield device, f"{failed} operations failed since the guest started"
    for one in domain.monitor("query-block"):
        if one.get("io-status", "ok") != "ok":
            yield str(one.get("qdev") or one.get("device")), f"I/O status {one['io-status']}"


def _alias(device: str) -> str:
    """``virtio-disk0`` of ``/machine/peripheral/virtio-disk0/virtio-backend``."""
    parts = device.split("/")
    return parts[3] if len(parts) > 3 and parts[1] == "machine" else device
