"""LM-RES-03: the client that waits for a migration is interrupted, killed or frozen."""

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.deadline import Deadline
from migqual.hosts.domain import DomainState
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Control, Plan
from migqual.testbed.testbed import Testbed
from suites.support.copies import list_running_hosts, wait_for_single_copy
from suites.support.virsh_client import migrate_with_virsh

SLOW_BANDWIDTH_MIB_S = 1
FREEZE_S = 3.0
INACTIVE_STATES = {DomainState.SHUT_OFF, DomainState.GONE}


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.parametrize("control", list(Control), ids=str)
def test_interrupted_virsh_aborts_the_migration(control: Control, testbed: Testbed) -> None:
    """
    Ctrl-C of `virsh migrate` aborts the migration.

    Preconditions: virsh on a terminal of the source host migrates the guest. Ctrl-C is pressed
    while QEMU sends guest memory.
    Expected: the guest runs at the source only, with its memory intact. The next migration
    succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    plan = Plan(control=control, bandwidth_mib_s=SLOW_BANDWIDTH_MIB_S)

    with migrate_with_virsh(testbed, guest, plan) as virsh:
        virsh.interrupt()
        wait_for_single_copy(guest, testbed.hosts, may_stay=True)

    assert list_running_hosts(guest, testbed.hosts) == [testbed.source.name]
    testbed.check_guests()
    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.parametrize("control", list(Control), ids=str)
def test_killed_virsh_leaves_one_copy(
    control: Control, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A guest is on exactly one host after the client that waits for its migration was killed.

    Preconditions: virsh on the source host migrates the guest with a low bandwidth limit, and gets
    SIGKILL while QEMU sends guest memory. After SIGKILL, migqual lifts the bandwidth limit, so that
    the migration ends soon.
    Expected: the guest is on one host, and the report names the host. A guest that libvirt left
    paused continues after `resume`. The memory is intact, and the next migration succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    plan = Plan(control=control, bandwidth_mib_s=SLOW_BANDWIDTH_MIB_S)

    with migrate_with_virsh(testbed, guest, plan) as virsh:
        virsh.kill()
        virsh.wait_for_end_of_job()
        wait_for_single_copy(guest, testbed.hosts, may_stay=True)

    states = guest.query_states_by_host(testbed.hosts)
    record_figures(
        f"virsh killed, {control}", {f"state on {name}": str(one) for name, one in states.items()}
    )
    active_hosts = [name for name, state in states.items() if state not in INACTIVE_STATES]
    assert len(active_hosts) == 1, states
    (name,) = active_hosts
    guest.set_host(testbed.provisioner.hosts[name])
    if states[name] is DomainState.PAUSED:
        guest.domain.resume()
    testbed.check_guests()
    testbed.migrate(guest, Plan())


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.beyond_requirement
@pytest.mark.parametrize(
    "control",
    [Control.PEER_TO_PEER, pytest.param(Control.DIRECT, marks=pytest.mark.slow)],
    ids=str,
)
def test_frozen_virsh_delays_the_migration(control: Control, testbed: Testbed) -> None:
    """
    A guest arrives although the client that waits for its migration hangs for some seconds.

    Preconditions: virsh on the source host migrates the guest with a low bandwidth limit, and is
    stopped with SIGSTOP for 3 s while QEMU sends guest memory. Meanwhile migqual lifts the limit.
    Expected: virsh ends after SIGCONT. The guest runs at the destination only, with memory and TCP
    session intact, and the next migration succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    plan = Plan(control=control, bandwidth_mib_s=SLOW_BANDWIDTH_MIB_S)

    with migrate_with_virsh(testbed, guest, plan) as virsh:
        with virsh.freeze(testbed.probe_context.journal):
            virsh.lift_bandwidth_limit()
            Deadline(FREEZE_S).pause(FREEZE_S)
        virsh.wait_for_end()
        wait_for_single_copy(guest, (testbed.source,), may_stay=False)

    assert list_running_hosts(guest, testbed.hosts) == [testbed.destination.name]
    guest.set_host(testbed.destination)
    testbed.check_guests()
    testbed.migrate(guest, Plan())
