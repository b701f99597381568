"""Query the health of a guest: state, job, guest agent, disk errors, migration blockers."""

from collections.abc import Iterator, Mapping
from typing import Any

from migqual.errors import GuestError, HostError
from migqual.hosts import libvirt_queries
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.domain_definition import DomainDefinition
from migqual.hosts.domain_job import query_job_stats
from migqual.preflight.facts import AgentState, GuestHealth
from migqual.probes.fact import Fact, Missing, fact_or_missing
from migqual.probes.probe_context import ProbeMode

AGENT_SECONDS = 1
# virDomainJobType: jobs of type bounded or unbounded are active, jobs of other types ended
_ACTIVE_JOB_TYPES = {1: "bounded", 2: "unbounded"}
# QEMU's counters of failed operations; a refused discard is not an error of the disk
_FAILURE_COUNTERS = ("failed_rd_operations", "failed_wr_operations", "failed_flush_operations")
_ACTIVE_STATES = {DomainState.RUNNING, DomainState.PAUSED}


def collect_guest_health(
    domain: Domain, definition: DomainDefinition, probe_mode: ProbeMode
) -> GuestHealth:
    """Query state, job, guest agent, disk errors and migration blockers of the guest.

    During an active job, the function queries only the state and the job. In the probe mode
    `READ_ONLY`, the function never taints the domain.
    """
    state = domain.query_state()
    active_job = fact_or_missing(lambda: read_active_job(domain))
    if active_job != "none":
        # most queries would wait for the end of the job, until libvirt's timeout
        missing = Missing("a libvirt job is active")
        return GuestHealth(state, active_job, missing, missing, missing, missing)
    return GuestHealth(
        state=state,
        job=active_job,
        agent_state=query_agent_state(domain, definition, state, probe_mode),
        disk_errors=fact_or_missing(
            lambda: collect_disk_errors(domain, definition, state, probe_mode)
        ),
        qemu_blockers=fact_or_missing(lambda: query_qemu_blockers(domain, state, probe_mode)),
        snapshots=fact_or_missing(lambda: libvirt_queries.list_snapshots(domain)),
    )


def read_active_job(domain: Domain) -> str:
    """Return type and operation of the active job (virDomainJobOperation), or ``none``."""
    stats = query_job_stats(domain)
    job_type = _ACTIVE_JOB_TYPES.get(stats.job_type)
    if job_type is None:
        return "none"
    operation = "unknown" if stats.operation is None else stats.operation
    return f"{job_type}, virDomainJobOperation {operation}"


def query_agent_state(
    domain: Domain, definition: DomainDefinition, state: DomainState, probe_mode: ProbeMode
) -> Fact[AgentState]:
    """Query whether the guest agent answers.

    In the probe mode `WRITING`, the function sends `guest-ping`. In the mode `READ_ONLY`, the
    function queries the time of the guest, because this query does not taint the domain.

    Returns:
        The state of the agent. `Missing` means that the guest does not run.
    """
    if not definition.has_agent_channel:
        return AgentState.NO_CHANNEL
    if state is not DomainState.RUNNING:
        return Missing(f"the guest is {state}")
    try:
        if probe_mode is ProbeMode.WRITING:
            domain.run_agent_command("guest-ping", seconds=AGENT_SECONDS)
        else:
            libvirt_queries.check_guest_agent(domain)
    except GuestError:
        return AgentState.NOT_RESPONDING
    return AgentState.RESPONDING


def collect_disk_errors(
    domain: Domain, definition: DomainDefinition, state: DomainState, probe_mode: ProbeMode
) -> Mapping[str, str]:
    """Collect the I/O errors of the guest's disks.

    libvirt lists disks with errors (virDomainGetDiskErrors). In the probe mode `WRITING`, the
    function also sends commands to the QEMU monitor, and reads QEMU's I/O status and QEMU's
    counters of failed operations.

    Returns:
        A message for each disk with errors, by target.

    Raises:
        HostError: The guest is neither running nor paused.
    """
    if state not in _ACTIVE_STATES:
        raise HostError(domain.host, f"disk errors cannot be queried while the guest is {state}")
    errors = {
        target: f"libvirt reports virDomainDiskErrorCode {code}"
        for target, code in libvirt_queries.query_disk_errors(domain).items()
    }
    if probe_mode is ProbeMode.WRITING:
        target_by_alias = {disk.alias: disk.target for disk in definition.disks}
        for device, message in _list_qemu_disk_errors(domain):
            errors[target_by_alias.get(_extract_alias(device), device)] = message
    return errors


def query_qemu_blockers(
    domain: Domain, state: DomainState, probe_mode: ProbeMode
) -> tuple[str, ...]:
    """Query the reasons of QEMU against a migration of the guest (QEMU 6.0 and later).

    Returns:
        The reasons. The result is empty if the probe mode is `READ_ONLY`, or if the guest is
        neither running nor paused.
    """
    if probe_mode is ProbeMode.READ_ONLY or state not in _ACTIVE_STATES:
        return ()
    reply: dict[str, Any] = domain.run_qmp_command("query-migrate")
    return tuple(str(reason) for reason in reply.get("blocked-reasons", ()))


def _list_qemu_disk_errors(domain: Domain) -> Iterator[tuple[str, str]]:
    """List the devices with I/O errors, each with a message about the error."""
    for block_stats in domain.run_qmp_command("query-blockstats"):
        failed_count = sum(
            int(block_stats["stats"].get(counter, 0)) for counter in _FAILURE_COUNTERS
        )
        if failed_count:
            device = str(block_stats.get("qdev") or block_stats.get("device"))
            yield device, f"{failed_count} I/O operations failed since the guest started"
    for block_stats in domain.run_qmp_command("query-block"):
        if block_stats.get("io-status", "ok") != "ok":
            yield (
                str(block_stats.get("qdev") or block_stats.get("device")),
                f"QEMU reports the I/O status {block_stats['io-status']}",
            )


def _extract_alias(device: str) -> str:
    """Extract the device alias from a QOM path of QEMU. A name without a path is not changed.

    The alias of ``/machine/peripheral/virtio-disk0/virtio-backend`` is ``virtio-disk0``.
    """
    parts = device.split("/")
    return parts[3] if len(parts) > 3 and parts[1] == "machine" else device
