"""The time of steps: each second is counted once."""

import pytest

from migqual.deadline import Deadline
from migqual.steps import Steps, collect_steps, timed

pytestmark = pytest.mark.selftest


def test_time_of_an_inner_step_is_not_the_outer_ones() -> None:
    """
    Nested steps share no second.

    Expected: the outer step has what the inner one leaves over; both are counted.
    """
    steps = Steps()
    steps.enter()
    steps.enter()
    steps.leave("inner", 3.0)
    steps.leave("outer", 5.0)

    assert steps.seconds == {"inner": 3.0, "outer": 2.0}
    assert steps.counts == {"inner": 1, "outer": 1}


def test_steps_of_one_name_add_up() -> None:
    """A step that is entered twice has both times, also where it raised."""
    with collect_steps() as steps:
        with timed("wait"):
            Deadline(1).pause(0.01)
        with pytest.raises(ValueError, match="on purpose"), timed("wait"):
            raise ValueError("on purpose")

    assert steps.counts == {"wait": 2}
    assert steps.seconds["wait"] >= 0.01


def test_timed_serves_as_a_decorator() -> None:
    """A decorated function is timed at each call, by whoever collects then."""

    @timed("work")
    def work() -> int:
        return 7

    assert work() == 7  # nobody collects: nothing happens
    with collect_steps() as first:
        work()
    with collect_steps() as second:
        work()
        work()

    assert (first.counts, second.counts) == ({"work": 1}, {"work": 2})
