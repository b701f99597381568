"""Each restriction is shown twice: the guard refuses, and without it the stack is watched."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from migqual.errors import GuardRefusal
from migqual.hosts.guest import Guest
from migqual.model.finding import Finding
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Guard, Plan

Migrate = Callable[..., Outcome]


def refused(migrate: Migrate, guest: Guest, plan: Plan, finding: str) -> Finding:
    """The guard's own refusal called `finding`; the guest has not moved, and runs."""
    host = guest.host
    with pytest.raises(GuardRefusal) as refusal:
        migrate(guest, plan)
    found = {one.id: one for one in refusal.value.findings}
    assert finding in found, f"refused for another reason: {refusal.value}"
    assert found[finding].remedy
    assert guest.host is host
    assert guest.state() == "running"
    return found[finding]


def unguarded(plan: Plan) -> Plan:
    """The same without the guard: on throw-away images only. Driven by the controller, since a
    source that drives it may lose the destination's words with its connection."""
    return replace(plan, guard=Guard.OFF, control=Control.DIRECT)
