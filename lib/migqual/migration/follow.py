"""Following a migration: its job is sampled until it is over, the plan's limits are acted on."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from migqual.hosts.guest import Guest
from migqual.migration.course import Course
from migqual.migration.job import Job
from migqual.model.outcome import DiskSample, JobSample
from migqual.model.plan import Plan, StorageCopy, TimeoutAction

SAMPLE_SECONDS = 0.025  # from one question to the next; a slow answer delays the next one
BREATH_SECONDS = 0.005  # from an answer to the next question at least
DISK_SECONDS = 0.02  # from a look at a disk that is copied to the next
DISK_JOIN_SECONDS = 5.0

# Called with every sample; returning True aborts the migration.
OnSample = Callable[[JobSample], bool]


def follow(course: Course, job: Job, on_sample: OnSample | None) -> None:
    """Sample the job until it is over; act on the plan's limits. What is seen goes to `course`.
    Raises what `Job.abort` does."""
    domain, plan, log = course.domain, course.plan, course.log
    disks = threading.Thread(target=_watch_disks, args=(course, job), daemon=True)
    disks.start()
    asked = log.started
    while not job.done.wait(max(BREATH_SECONDS, asked + SAMPLE_SECONDS - time.monotonic())):
        sent = log.memory_sent.is_set()
        asked = time.monotonic()
        stats = domain.job_stats()
        answered = time.monotonic()
        at_s = answered - log.started
        if stats.get("type"):
            sample = JobSample(at_s, stats, answered - asked)
            course.samples.append(sample)
            if sent and "downtime" in stats:
                # between the end of QEMU's job and libvirt's, its figure is the real downtime
                course.qemu["downtime"] = stats["downtime"]
            if on_sample is not None and not course.aborted and on_sample(sample):
                course.aborted = True
        if not course.aborted and at_s > plan.deadline_s:
            course.timed_out = True
        if course.timed_out or course.aborted:
            job.abort(course.guest)
        else:
            _act(course, job, due(plan, at_s, stats), at_s)
    disks.join(DISK_JOIN_SECONDS)


def _watch_disks(course: Course, job: Job) -> None:
    """Sample the disks that are copied, one after the other. In a thread of its own: libvirt may
    take a second to answer while it talks with QEMU, and the job is not to wait for that."""
    domain = course.domain
    for target in itertools.cycle(_copied(course.guest, course.plan)):
        if job.done.wait(DISK_SECONDS):
            return
        progress = domain.block_job(target)
        if progress is not None:
            at_s = time.monotonic() - course.log.started
            course.disks.append(DiskSample(at_s, target, *progress))


def _copied(guest: Guest, plan: Plan) -> tuple[str, ...]:
    if plan.copy_storage is StorageCopy.NONE:
        return ()
    return plan.migrate_disks or guest.spec.written()


def due(plan: Plan, at_s: float, stats: Mapping[str, Any]) -> list[TimeoutAction]:
    """Pure: what the plan wants done by now. Post-copy begins once memory moves: before, QEMU may
    not know that it may."""
    found = []
    if plan.timeout is not None and at_s >= plan.timeout.seconds:
        found.append(plan.timeout.action)
    if plan.postcopy_after_precopy and int(stats.get("memory_iteration", 0)) > 1:
        found.append(TimeoutAction.POSTCOPY)
    moving = int(stats.get("memory_processed", 0)) > 0
    return [action for action in found if moving or action is TimeoutAction.SUSPEND]


def _act(course: Course, job: Job, wanted: Iterable[TimeoutAction], at_s: float) -> None:
    """Ask libvirt for what is wanted until it does it; what it says instead is an event."""
    domain = course.domain
    acts = {
        TimeoutAction.SUSPEND: domain.suspend,
        TimeoutAction.POSTCOPY: domain.start_postcopy,
    }
    for action in wanted:
        request = course.requests[action]
        if request.granted or not request.make(acts[action]):
            continue
        if request.refusal:
            course.log.add(domain.host, "refused", request.refusal, time.monotonic(), None)
        elif action is TimeoutAction.POSTCOPY:
            job.switches()
        else:
            course.suspended_at_s = at_s
