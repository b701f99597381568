"""Measure how many seconds each named step of a test takes.

`collect_steps` collects the times of all steps in a block. A step may contain inner steps: the
time of an inner step does not count for the outer step.

    with collect_steps() as steps:
        with time_step("migrate"):
            ...
    steps.seconds  # {"migrate": 1.2}

Only steps in the thread of the `collect_steps` block are measured. Other threads run in parallel
and add no time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

# The step in which a test waits until the tests that must not run at the same time have ended.
WAIT_FOR_MACHINE = "wait for exclusive machine"


@dataclass
class StepTimes:
    """The total time and the number of runs of each step.

    Attributes:
        seconds: The total seconds of each step by name, without the time of inner steps.
        counts: The number of runs of each step by name.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _inner_seconds: list[float] = field(default_factory=list)

    def begin_step(self) -> None:
        """Begin a step. A step that is already running becomes the outer step."""
        self._inner_seconds.append(0.0)

    def end_step(self, name: str, elapsed_s: float) -> None:
        """End the step that began last, and add its time without inner steps to `seconds`.

        Args:
            name: The name of the step.
            elapsed_s: The time from begin to end of the step in seconds. The method subtracts the
                time of the inner steps.
        """
        own_s = elapsed_s - self._inner_seconds.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + own_s
        self.counts[name] = self.counts.get(name, 0) + 1
        if self._inner_seconds:
            self._inner_seconds[-1] += elapsed_s


_ACTIVE: ContextVar[StepTimes | None] = ContextVar("migqual-steps", default=None)


@contextmanager
def collect_steps() -> Iterator[StepTimes]:
    """Collect the times of all steps that the current thread runs in the `with` block."""
    steps = StepTimes()
    token = _ACTIVE.set(steps)
    try:
        yield steps
    finally:
        _ACTIVE.reset(token)


@contextmanager
def time_step(name: str) -> Iterator[None]:
    """Measure the time of the `with` block, or of a decorated function, as the step `name`.

    Outside of a `collect_steps` block nothing is measured.
    """
    steps = _ACTIVE.get()
    if steps is None:
        yield
        return
    steps.begin_step()
    started_at = time.monotonic()
    try:
        yield
    finally:
        steps.end_step(name, time.monotonic() - started_at)
