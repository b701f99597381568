"""Sample the job of a migration until the job ends, and apply the time limits of the plan."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from enum import Enum

from migqual.hosts.domain_job import query_block_job, query_job_stats, start_postcopy
from migqual.hosts.guest import Guest
from migqual.migration.job import Job
from migqual.migration.progress import MigrationProgress
from migqual.model.job_stats import JobStats
from migqual.model.outcome import DiskSample, JobSample
from migqual.model.plan import Plan, StorageCopy, TimeoutAction

SAMPLE_INTERVAL_SECONDS = 0.025  # from one query to the next; a slow reply delays the next query
MIN_PAUSE_SECONDS = 0.005  # minimum time from a reply to the next query
DISK_INTERVAL_SECONDS = 0.02  # between two queries of block jobs of copied disks
DISK_JOIN_SECONDS = 5.0


class SampleAction(Enum):
    """Action that a callback for job samples (`OnSample`) can request.

    Attributes:
        ABORT: Abort the migration.
    """

    ABORT = "abort"


# Called with every job sample. If the callback returns None, the migration continues. The result
# `SampleAction.ABORT` aborts the migration. An exception aborts the migration, too, and is raised
# after the abort.
OnSample = Callable[[JobSample], SampleAction | None]


def follow_job(progress: MigrationProgress, job: Job, on_sample: OnSample | None) -> None:
    """Sample the job of a migration until the job ends, and apply the time limits of the plan.

    The function aborts the migration after the deadline of the plan, or at the request of
    `on_sample`. libvirt can refuse an abort, so the function repeats the abort for up to 60 s.
    After the timeout of the plan, the function suspends the guest or switches to post-copy, as
    the plan states.

    Args:
        progress: Collects the job samples, the disk samples and QEMU's downtime.
        job: The started job.
        on_sample: Called with every job sample. The result `SampleAction.ABORT` aborts the
            migration.

    Raises:
        InconclusiveError: The job still runs after 60 s of repeated aborts, and libvirt refused
            the last abort.
        MigrationStuck: The job still runs after 60 s of repeated aborts, although libvirt accepted
            the last abort.
    """
    domain, plan, event_log = progress.domain, progress.plan, progress.event_log
    disk_thread = threading.Thread(target=_sample_disks, args=(progress, job), daemon=True)
    disk_thread.start()
    queried_at = event_log.started_at
    while not job.finished.wait(
        max(MIN_PAUSE_SECONDS, queried_at + SAMPLE_INTERVAL_SECONDS - time.monotonic())
    ):
        is_memory_sent = event_log.memory_sent.is_set()
        queried_at = time.monotonic()
        stats = query_job_stats(domain)
        replied_at = time.monotonic()
        at_s = replied_at - event_log.started_at
        if stats.is_active:
            sample = JobSample(at_s, stats, replied_at - queried_at)
            if is_memory_sent and stats.downtime_ms is not None:
                # QEMU's job has ended, libvirt's job has not: the value is the real downtime
                progress.qemu_stats["downtime"] = stats.downtime_ms
            _add_sample(progress, sample, on_sample)
        if not progress.aborted and at_s > plan.deadline_s:
            progress.timed_out = True
        if progress.timed_out or progress.aborted:
            job.request_abort(progress.guest)
        else:
            _request_actions(progress, job, list_due_actions(plan, at_s, stats), at_s)
    disk_thread.join(DISK_JOIN_SECONDS)


def _add_sample(progress: MigrationProgress, sample: JobSample, on_sample: OnSample | None) -> None:
    progress.samples.append(sample)
    if on_sample is not None and not progress.aborted and on_sample(sample) is SampleAction.ABORT:
        progress.aborted = True


def _sample_disks(progress: MigrationProgress, job: Job) -> None:
    """Sample the block jobs of the copied disks in turn, until the migration ends.

    A reply of libvirt can take a second. The function runs in a separate thread, so that the
    samples of the migration job do not wait for this reply.
    """
    domain = progress.domain
    for target in itertools.cycle(_list_copied_disks(progress.guest, progress.plan)):
        if job.finished.wait(DISK_INTERVAL_SECONDS):
            return
        block_progress = query_block_job(domain, target)
        if block_progress is not None:
            at_s = time.monotonic() - progress.event_log.started_at
            progress.disks.append(DiskSample(at_s, target, *block_progress))


def _list_copied_disks(guest: Guest, plan: Plan) -> tuple[str, ...]:
    if plan.copy_storage is StorageCopy.NONE:
        return ()
    return plan.migrate_disks or guest.spec.list_written_targets()


def list_due_actions(plan: Plan, at_s: float, stats: JobStats) -> list[TimeoutAction]:
    """List the actions of the plan (suspend, switch to post-copy) that are due at `at_s`.

    The switch to post-copy is due only after QEMU has sent memory, because QEMU may refuse an
    earlier switch. The function has no side effects.

    Args:
        plan: The plan of the migration.
        at_s: Seconds since the start of the migration.
        stats: Statistics of the job at this time.
    """
    actions = []
    if plan.timeout is not None and at_s >= plan.timeout.seconds:
        actions.append(plan.timeout.action)
    if plan.postcopy_after_precopy and (stats.memory_iteration or 0) > 1:
        actions.append(TimeoutAction.POSTCOPY)
    is_memory_moving = bool(stats.memory_processed_bytes)
    return [action for action in actions if is_memory_moving or action is TimeoutAction.SUSPEND]


def _request_actions(
    progress: MigrationProgress, job: Job, actions: Iterable[TimeoutAction], at_s: float
) -> None:
    """Request each due action until libvirt accepts the action, and log the refusals."""
    domain = progress.domain
    libvirt_calls = {
        TimeoutAction.SUSPEND: domain.suspend,
        TimeoutAction.POSTCOPY: lambda: start_postcopy(domain),
    }
    for action in actions:
        request = progress.requests[action]
        if request.is_accepted or not request.send(libvirt_calls[action]):
            continue
        if request.refusal:
            progress.event_log.add_event(
                domain.host, "refused", request.refusal, time.monotonic(), None
            )
        elif action is TimeoutAction.POSTCOPY:
            job.defer_abort()
        else:
            progress.suspended_at_s = at_s
