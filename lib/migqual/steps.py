"""Where the time goes: seconds of named steps, each second counted once.

A collector gathers what is timed while it is active. Steps may nest: the time of the inner one is
not counted for the outer one.

    with collect_steps() as steps:
        with timed("migrate"):
            ...
    steps.seconds  # {"migrate": 1.2}

Only the thread that activated the collector is timed: what runs beside it costs no time of its own.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

WAIT_FOR_TURN = "wait for a turn"  # a test's, until those beside which it may not run are over


@dataclass
class Steps:
    """Seconds by name of step, and how often each was entered."""

    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    def enter(self) -> None:
        """Begin a step inside the one that is under way."""
        self._inner.append(0.0)

    def leave(self, name: str, elapsed: float) -> None:
        """End the step that began last, after `elapsed` seconds."""
        own = elapsed - self._inner.pop()
        self.seconds[name] = self.seconds.get(name, 0.0) + own
        self.counts[name] = self.counts.get(name, 0) + 1
        if self._inner:
            self._inner[-1] += elapsed


_ACTIVE: ContextVar[Steps | None] = ContextVar("migqual-steps", default=None)


@contextmanager
def collect_steps() -> Iterator[Steps]:
    """Collect the steps that are timed in this thread while the block runs."""
    steps = Steps()
    token = _ACTIVE.set(steps)
    try:
        yield steps
    finally:
        _ACTIVE.reset(token)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Time the block as the step `name`. Costs nothing where nobody collects.

    Serves as a decorator too.
    """
    steps = _ACTIVE.get()
    if steps is None:
        yield
        return
    steps.enter()
    began = time.monotonic()
    try:
        yield
    finally:
        steps.leave(name, time.monotonic() - began)
