"""LM-RES-10: both hosts attach guests to the same segment of the service network."""

import pytest

from fixtures.plugins.preflight import PreflightRunner
from migqual.errors import TimedOut
from migqual.hosts.guest import Guest
from migqual.migration.migrate import migrate
from migqual.model.finding import Severity
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Guard, Plan
from migqual.testbed.testbed import Testbed
from suites.support.faults import inject_bridge_disconnect

UNREACHABLE_SECONDS = 1.5
# QEMU's default number and pauses in ms of the announcements of a guest's addresses
ANNOUNCEMENTS = {"initial": 50, "max": 550, "rounds": 5, "step": 100}


@pytest.mark.requirement("LM-RES-10")
def test_same_segment(run_preflight: PreflightRunner, shared_idle_guest: Guest) -> None:
    """
    Preflight recognizes service bridges on the same network segment.

    Preconditions: the service bridge of each host, which connects guests to the service network,
    has an uplink.
    Expected: frames pass in both directions.
    """
    assert run_preflight(shared_idle_guest.name)["LM-RES-10.segment"].severity is Severity.OK


@pytest.mark.requirement("LM-RES-10")
def test_different_segment_is_refused(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    Preflight refuses a migration if the hosts have service bridges on different network segments.

    Preconditions: the service bridge of the destination, which connects guests to the service
    network, has lost its uplink. Therefore the bridge is a separate network segment.
    Expected: preflight refuses the migration.
    """
    with inject_bridge_disconnect(testbed.provisioner, testbed.destination):
        finding = run_preflight(shared_idle_guest.name)["LM-RES-10.segment"]

    assert finding.severity is Severity.REFUSED


@pytest.mark.requirement("LM-RES-10")
def test_guest_on_another_segment_is_unreachable(testbed: Testbed) -> None:
    """
    A guest is unreachable after a migration to another network segment.

    Preconditions: the service bridge of the destination has lost its uplink, and therefore is a
    separate network segment. The guard, which would refuse this migration, is off.
    Expected: the migration succeeds. The client's probes get no answer from the guest. Then the
    test connects the bridge again, QEMU announces the guest's addresses, and the guest answers.
    """
    guest = testbed.make_guest(GuestSpec())
    meter = testbed.observers[guest.name].meter
    with inject_bridge_disconnect(testbed.provisioner, testbed.destination):
        migrate(guest, testbed.destination, Plan(guard=Guard.OFF))
        with pytest.raises(TimedOut, match="the guest did not answer"):
            meter.wait_for_reply(meter.mark_time_ns(), UNREACHABLE_SECONDS)
    # The announcements after the migration are lost: switches and the client still send to the
    # source.
    guest.domain.run_qmp_command("announce-self", **ANNOUNCEMENTS)

    assert meter.wait_for_reply(meter.mark_time_ns())
