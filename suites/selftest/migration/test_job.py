"""Requests to libvirt during a migration: planned actions, refusals, retries and errors."""

import pytest

from migqual.errors import GuestError, StackError
from migqual.migration.job import Job, LibvirtRequest
from migqual.migration.job_sampler import list_due_actions
from migqual.model.job_stats import JobStats
from migqual.model.plan import Plan, Timeout, TimeoutAction

pytestmark = pytest.mark.selftest

JOB_TIMEOUT_SECONDS = 10.0
MEMORY_STATS = {"memory_processed": 4096, "memory_iteration": 1}
SUSPEND_PLAN = Plan(timeout=Timeout(5))
POSTCOPY_PLAN = Plan(postcopy=True, timeout=Timeout(5, TimeoutAction.POSTCOPY))
AFTER_PRECOPY_PLAN = Plan(postcopy=True, postcopy_after_precopy=True)


@pytest.mark.parametrize(
    ("plan", "at_s", "stats", "expected"),
    [
        (Plan(), 100.0, MEMORY_STATS, []),
        (SUSPEND_PLAN, 4.9, MEMORY_STATS, []),
        (SUSPEND_PLAN, 5.0, MEMORY_STATS, [TimeoutAction.SUSPEND]),
        (SUSPEND_PLAN, 5.0, {}, [TimeoutAction.SUSPEND]),
        (POSTCOPY_PLAN, 4.9, MEMORY_STATS, []),
        (POSTCOPY_PLAN, 5.0, {}, []),
        (POSTCOPY_PLAN, 5.0, MEMORY_STATS, [TimeoutAction.POSTCOPY]),
        (AFTER_PRECOPY_PLAN, 1.0, MEMORY_STATS, []),
        (AFTER_PRECOPY_PLAN, 1.0, MEMORY_STATS | {"memory_iteration": 2}, [TimeoutAction.POSTCOPY]),
    ],
)
def test_due_timeout_actions(
    plan: Plan, at_s: float, stats: dict[str, int], expected: list[TimeoutAction]
) -> None:
    """After the timeout, a guest is suspended even if QEMU has sent no memory yet.

    The switch to post-copy is due only after QEMU has sent memory. With `postcopy_after_precopy`,
    the switch is due after the first iteration.
    """
    assert list_due_actions(plan, at_s, JobStats(stats)) == expected


@pytest.mark.parametrize(
    "error", [StackError("a", "switch", "not now"), GuestError("not now")], ids=["stack", "guest"]
)
def test_refused_request_keeps_the_message(error: Exception) -> None:
    """If libvirt refuses a request, `LibvirtRequest.refusal` contains the error message."""
    request = LibvirtRequest()

    def raise_error() -> None:
        raise error

    assert request.send(raise_error)
    assert not request.is_accepted
    assert "not now" in request.refusal


def test_request_is_not_repeated_immediately() -> None:
    """A request to libvirt, for example to suspend the guest, is sent at most once a second."""
    request = LibvirtRequest()

    assert request.send(lambda: None)
    assert not request.send(lambda: None)
    assert request.attempts == 1
    assert request.is_accepted


def test_unexpected_error_in_migration_call_is_raised_again() -> None:
    """`raise_unexpected_error` raises an unexpected exception of the migration call again.

    Every exception except `StackError` is unexpected, for example a division by zero. After such
    an exception, `Job.has_succeeded` is False.
    """
    job = Job(lambda: 1 / 0)
    job.start()

    assert job.finished.wait(JOB_TIMEOUT_SECONDS)
    assert not job.has_succeeded
    with pytest.raises(ZeroDivisionError):
        job.raise_unexpected_error()
