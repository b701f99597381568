"""Code for tests of restrictions: a migration with the guard, and a plan without the guard.

The guard is migqual's check that refuses an unsafe migration. A test of a restriction tries an
unsafe migration twice. With the guard, the test expects a refusal. Without the guard, the test
observes what libvirt and QEMU do.
"""

from dataclasses import replace

import pytest

from migqual.errors import GuardRefusal
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.model.finding import Finding
from migqual.model.plan import Control, Guard, Plan
from migqual.testbed.testbed import Testbed


def expect_guard_refusal(testbed: Testbed, guest: Guest, plan: Plan, finding_id: str) -> Finding:
    """Expect a refusal of the guard with the finding `finding_id`, and return the finding.

    The guest must still run on the same host.
    """
    host_before = guest.host
    with pytest.raises(GuardRefusal) as refusal:
        testbed.migrate(guest, plan)
    findings = {finding.id: finding for finding in refusal.value.findings}
    assert finding_id in findings, f"the guard did not report {finding_id}: {refusal.value}"
    assert findings[finding_id].remedy
    assert guest.host is host_before
    assert guest.query_state() is DomainState.RUNNING
    return findings[finding_id]


def disable_guard(plan: Plan) -> Plan:
    """Return a copy of the plan in which the guard is off, so that an unsafe migration can start.

    The migration can damage the images of the guest. The control in the copy is `direct`: with
    `p2p`, the error message of the destination may get lost.
    """
    return replace(plan, guard=Guard.OFF, control=Control.DIRECT)
