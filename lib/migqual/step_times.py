"""Measure the seconds of named steps; each second counts once.

A collector records the steps timed while the collector is active. Steps may nest: the outer
step does not include the time of the inner step.

    with collect_steps() as steps:
        with time_step("migrate"):
            ...
    steps.seconds  # {"migrate": 1.2}

Only steps in the thread of the collector are timed. Other threads run in parallel and add no
time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

# a test waits until the tests that must not run at the same time have ended
WAIT_FOR_MACHINE = "wait for exclusive machine"


@dataclass
class StepTimes:
    """Seconds and number of runs of each step.

    Attributes:
        seconds: The time of each step by name, without inner steps.
        counts: The number of runs of each step by name.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _inner_seconds: list[float] = field(default_factory=list)

    def begin_step(self) -> None:
        """Begin a step inside the current step."""
        self._inner_seconds.append(0.0)

    def end_step(self, name: str, elapsed_s: float) -> None:
        """End the last step begun.

        Args:
            name: The name of the step.
            elapsed_s: The duration of the step, inner steps included.
        """
        own_s = elapsed_s - self._inner_seconds.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + own_s
        self.counts[name] = self.counts.get(name, 0) + 1
        if self._inner_seconds:
            self._inner_seconds[-1] += elapsed_s


_ACTIVE: ContextVar[StepTimes | None] = ContextVar("migqual-steps", default=None)


@contextmanager
def collect_steps() -> Iterator[StepTimes]:
    """Collect the steps timed in the current thread while the block runs."""
    steps = StepTimes()
    token = _ACTIVE.set(steps)
    try:
        yield steps
    finally:
        _ACTIVE.reset(token)


@contextmanager
def time_step(name: str) -> Iterator[None]:
    """Time the block as the step `name`; also usable as a decorator.

    Without an active collector the block runs without measurement and without extra cost.
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
