"""Check the guest itself: state, job, guest agent, disks, devices (LM-PRE-03). No side effects."""

from collections.abc import Iterator

from migqual.hosts.domain import DomainState
from migqual.model.finding import Finding
from migqual.preflight.facts import AgentState, MigrationFacts
from migqual.preflight.findings import report_ok, report_refusal, report_unknown, report_warning
from migqual.probes.fact import Missing


def check_guest_running(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the guest runs (LM-PRE-03.running)."""
    finding_id, state = "LM-PRE-03.running", facts.health.state
    if state is DomainState.RUNNING:
        yield report_ok(finding_id, f"{facts.guest} is running", state=state)
    else:
        remedy = (
            f"resume the guest: virsh resume {facts.guest}"
            if state is DomainState.PAUSED
            else "start the guest, or copy the domain XML and the images of the guest by hand"
        )
        yield report_refusal(
            finding_id, f"{facts.guest} is {state}, not running", remedy, state=state
        )


def check_active_job(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether libvirt runs a job for the guest (LM-PRE-03.job)."""
    finding_id, job = "LM-PRE-03.job", facts.health.job
    if isinstance(job, Missing):
        yield report_unknown(finding_id, "cannot determine whether a libvirt job is active", job)
    elif job == "none":
        yield report_ok(finding_id, "no libvirt job is active")
    else:
        yield report_refusal(
            finding_id,
            f"libvirt runs a job for the guest: {job}",
            f"wait until the job ends, or abort it: virsh domjobabort {facts.guest}",
            job=job,
        )


def check_agent_response(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the guest agent answers (LM-PRE-03.agent).

    A guest without a channel for the agent gets a warning.
    """
    finding_id, agent_state = "LM-PRE-03.agent", facts.health.agent_state
    if isinstance(agent_state, Missing):
        yield report_unknown(
            finding_id, "cannot determine whether the guest agent answers", agent_state
        )
    elif agent_state is AgentState.RESPONDING:
        yield report_ok(finding_id, "the guest agent answers")
    elif agent_state is AgentState.NOT_RESPONDING:
        yield report_refusal(
            finding_id,
            f"the guest agent of {facts.guest} does not answer",
            "check whether the guest hangs; restart qemu-guest-agent in the guest",
        )
    else:
        yield report_warning(
            finding_id,
            f"{facts.guest} has no channel for a guest agent, so preflight cannot test whether "
            f"{facts.guest} hangs",
            "add the channel org.qemu.guest_agent.0, and install qemu-guest-agent in the guest",
        )


def check_disk_errors(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the guest's disks report I/O errors (LM-PRE-03.disks)."""
    finding_id, disk_errors = "LM-PRE-03.disks", facts.health.disk_errors
    if isinstance(disk_errors, Missing):
        yield report_unknown(
            finding_id, "cannot determine whether disks had I/O errors", disk_errors
        )
    elif not disk_errors:
        yield report_ok(finding_id, "no disk reports an I/O error")
    else:
        error_list = "; ".join(
            f"{target}: {message}" for target, message in sorted(disk_errors.items())
        )
        yield report_refusal(
            finding_id,
            f"disks report I/O errors: {error_list}",
            "repair the storage, then stop and start the guest to reset the error counters of QEMU",
            **dict(disk_errors),
        )


def check_snapshots(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the guest has snapshots (LM-PRE-03.snapshots).

    libvirt keeps the metadata of snapshots on the source only, and refuses to migrate a guest that
    has any.
    """
    finding_id, snapshots = "LM-PRE-03.snapshots", facts.health.snapshots
    if isinstance(snapshots, Missing):
        yield report_unknown(
            finding_id, "cannot determine whether the guest has snapshots", snapshots
        )
    elif snapshots:
        yield report_refusal(
            finding_id,
            f"libvirt does not migrate a guest with snapshots: {', '.join(snapshots)}",
            "save the XML of each snapshot with `virsh snapshot-dumpxml`, then remove its metadata "
            f"with `virsh snapshot-delete {facts.guest} SNAPSHOT --metadata`; this keeps the data",
            snapshots=len(snapshots),
        )
    else:
        yield report_ok(finding_id, "the guest has no snapshots", snapshots=0)


def check_migration_blockers(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether a device of the guest prevents a migration (LM-PRE-03.devices).

    The check uses the devices in the domain XML, and the reasons that QEMU reports
    (`blocked-reasons` of QMP `query-migrate`).
    """
    finding_id, qemu_blockers = "LM-PRE-03.devices", facts.health.qemu_blockers
    reported_blockers = () if isinstance(qemu_blockers, Missing) else qemu_blockers
    blockers = (*facts.definition.blockers, *reported_blockers)
    if blockers:
        yield report_refusal(
            finding_id,
            f"devices prevent a migration of the guest: {'; '.join(blockers)}",
            "detach these devices before the migration, and attach them again afterwards",
            blockers=len(blockers),
        )
    elif isinstance(qemu_blockers, Missing):
        yield report_unknown(
            finding_id, "cannot determine whether a device prevents a migration", qemu_blockers
        )
    else:
        yield report_ok(finding_id, "no device of the guest prevents a migration", blockers=0)
