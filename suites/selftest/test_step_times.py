"""Tests of step times: each second counts once."""

import pytest

from migqual.deadline import Deadline
from migqual.step_times import StepTimes, collect_steps, time_step

pytestmark = pytest.mark.selftest


def test_outer_step_excludes_inner_step() -> None:
    """
    The time of an inner step does not count for the outer step.

    Preconditions: an outer step takes 5 s, and 3 s of this time are in an inner step.
    Expected: 2 s for the outer step and 3 s for the inner step; each step is counted once.
    """
    steps = StepTimes()
    steps.begin_step()
    steps.begin_step()
    steps.end_step("inner", 3.0)
    steps.end_step("outer", 5.0)

    assert steps.seconds == {"inner": 3.0, "outer": 2.0}
    assert steps.counts == {"inner": 1, "outer": 1}


def test_steps_with_same_name_add_up() -> None:
    """A step entered twice has the sum of both times, also when the step raised an error."""
    with collect_steps() as steps:
        with time_step("wait"):
            Deadline(1).pause(0.01)
        with pytest.raises(ValueError, match="on purpose"), time_step("wait"):
            raise ValueError("on purpose")

    assert steps.counts == {"wait": 2}
    assert steps.seconds["wait"] >= 0.01


def test_time_step_as_decorator() -> None:
    """A decorated function is timed at each call, by the collector active during the call."""

    @time_step("work")
    def return_seven() -> int:
        return 7

    assert return_seven() == 7  # without a collector, nothing is recorded
    with collect_steps() as first_steps:
        return_seven()
    with collect_steps() as second_steps:
        return_seven()
        return_seven()

    assert (first_steps.counts, second_steps.counts) == ({"work": 1}, {"work": 2})
