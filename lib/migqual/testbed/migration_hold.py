"""Choose the limits that hold a migration in a phase, and later remove the limits."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from migqual.errors import GuestError, HostError, InconclusiveError
from migqual.hosts.domain import BandwidthPhase, Domain
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan

HOLD_BANDWIDTH_MIB_S = 1
HOLD_DEADLINE_S = 150.0  # of a held migration, faults included
FREE_BANDWIDTH_MIB_S = 100_000
FREE_DOWNTIME_MS = 1000


def build_held_plan(plan: Plan, phase: MigrationPhase) -> Plan:
    """Build the plan of a migration that does not leave the phase by itself.

    For most phases, a low bandwidth replaces the bandwidth of `plan`. For LATER_ITERATION, the load
    of the guest and the bandwidth of `plan` must prevent convergence. POSTCOPY_PAUSED also keeps
    the bandwidth of `plan`, because only a recovery ends this phase.

    A plan for POSTCOPY keeps its own bandwidth of post-copy. With `postcopy_after_precopy`, the
    plan also keeps the bandwidth of pre-copy, because the first iteration has to end.
    """
    plan = replace(plan, deadline_s=max(plan.deadline_s, HOLD_DEADLINE_S))
    if phase in (MigrationPhase.LATER_ITERATION, MigrationPhase.POSTCOPY_PAUSED):
        return plan
    if phase is MigrationPhase.POSTCOPY:
        bandwidth_mib_s = plan.postcopy_bandwidth_mib_s or HOLD_BANDWIDTH_MIB_S
        plan = replace(plan, postcopy=True, postcopy_bandwidth_mib_s=bandwidth_mib_s)
        if plan.postcopy_after_precopy:
            return plan
    return replace(plan, bandwidth_mib_s=HOLD_BANDWIDTH_MIB_S)


def lift_limits(domain: Domain, phase: MigrationPhase) -> None:
    """Raise the limits of bandwidth and downtime, so that a migration can leave the phase.

    In the phase SWITCH_OVER the function does nothing: libvirt accepts no new limit, and QEMU sends
    the rest of the memory without a limit. A host that does not answer causes no error.

    Args:
        domain: The domain at the source.
        phase: The phase in which the migration is held.
    """
    if phase is MigrationPhase.SWITCH_OVER:
        return
    calls: list[Callable[[], None]] = [
        lambda: domain.set_bandwidth(FREE_BANDWIDTH_MIB_S),
        lambda: domain.set_max_downtime(FREE_DOWNTIME_MS),
    ]
    if phase is MigrationPhase.DISK_COPY:
        calls.insert(0, lambda: lift_block_job_limits(domain))
    if phase is MigrationPhase.POSTCOPY:
        calls.append(lambda: domain.set_bandwidth(FREE_BANDWIDTH_MIB_S, BandwidthPhase.POSTCOPY))
    for call in calls:
        with suppress(HostError, GuestError):
            call()


def lift_block_job_limits(domain: Domain) -> None:
    """Set the speed of each block job of QEMU to 0, which means no limit.

    A block job copies a disk. libvirt sets the speed only when the block job starts, so a new
    bandwidth of the migration does not change the speed.

    Raises:
        HostError: QEMU refuses the command, for example because a block job has just ended.
    """
    for block_job in domain.run_qmp_command("query-block-jobs"):
        domain.run_qmp_command("block-job-set-speed", device=block_job["device"], speed=0)


def build_timeout_error(guest_name: str, seconds: float) -> InconclusiveError:
    """Build the error for a held migration that has not ended after `seconds`."""
    return InconclusiveError(f"the migration of {guest_name} has not ended after {seconds:g} s")
