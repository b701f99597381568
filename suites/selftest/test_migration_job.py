"""What libvirt is asked for while a migration lasts, and when."""

import pytest

from migqual.errors import GuestError, StackError
from migqual.migration.follow import due
from migqual.migration.job import Job, Request
from migqual.model.plan import Plan, Timeout, TimeoutAction

pytestmark = pytest.mark.selftest

ENOUGH_SECONDS = 10.0
MOVING = {"memory_processed": 4096, "memory_iteration": 1}
SUSPEND = Plan(timeout=Timeout(5))
POSTCOPY = Plan(postcopy=True, timeout=Timeout(5, TimeoutAction.POSTCOPY))
AFTER_PRECOPY = Plan(postcopy=True, postcopy_after_precopy=True)


@pytest.mark.parametrize(
    ("plan", "at_s", "stats", "wanted"),
    [
        (Plan(), 100.0, MOVING, []),
        (SUSPEND, 4.9, MOVING, []),
        (SUSPEND, 5.0, MOVING, [TimeoutAction.SUSPEND]),
        (SUSPEND, 5.0, {}, [TimeoutAction.SUSPEND]),
        (POSTCOPY, 4.9, MOVING, []),
        (POSTCOPY, 5.0, {}, []),
        (POSTCOPY, 5.0, MOVING, [TimeoutAction.POSTCOPY]),
        (AFTER_PRECOPY, 1.0, MOVING, []),
        (AFTER_PRECOPY, 1.0, MOVING | {"memory_iteration": 2}, [TimeoutAction.POSTCOPY]),
    ],
)
def test_what_is_due(
    plan: Plan, at_s: float, stats: dict[str, int], wanted: list[TimeoutAction]
) -> None:
    """A guest is suspended when its time is up, moving or not; post-copy waits for memory."""
    assert due(plan, at_s, stats) == wanted


@pytest.mark.parametrize(
    "error", [StackError("a", "switch", "not now"), GuestError("not now")], ids=["stack", "guest"]
)
def test_a_request_that_is_refused_keeps_the_words(error: Exception) -> None:
    """What libvirt said instead stands until it does what it was asked for."""
    request = Request()

    def refuse() -> None:
        raise error

    assert request.make(refuse)
    assert not request.granted
    assert "not now" in request.refusal


def test_a_request_is_not_repeated_at_once() -> None:
    """libvirt is not asked again with every sample."""
    request = Request()

    assert request.make(lambda: None)
    assert not request.make(lambda: None)
    assert request.tries == 1
    assert request.granted


def test_a_call_that_crashes_has_not_succeeded() -> None:
    """An exception that is not the stack's is no success; it is raised again."""
    job = Job(lambda: 1 / 0)
    job.start()

    assert job.done.wait(ENOUGH_SECONDS)
    assert not job.succeeded
    with pytest.raises(ZeroDivisionError):
        job.raise_crash()
