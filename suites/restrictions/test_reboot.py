"""LM-RES-08: a migration while the guest reboots by ACPI power button, guest agent or reset."""

from collections.abc import Iterator

import pytest

from migqual.deadline import Deadline
from migqual.errors import GuestError, InconclusiveError, TimedOut, UnsupportedError
from migqual.hosts.domain import DomainState, RebootMethod
from migqual.hosts.guest import Guest
from migqual.migration.migrate import migrate
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed
from suites.support.copies import require_no_second_copy, wait_for_single_copy

SHUTDOWN_DELAY_S = 4  # time that the guest takes to shut down
REBOOT_TIMEOUT_S = 40.0
SHUTDOWN_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 2.0  # a payload that runs replies within this time


@pytest.fixture
def slow_shutdown_guest(testbed: Testbed) -> Iterator[Guest]:
    """Yield a guest without observers. The guest needs several seconds to shut down.

    Each test reboots the guest, and observers would report the reboot as a violation. Instead, the
    tests with a migration check that no second copy of the guest exists.
    """
    with testbed.running_guest(GuestSpec(shutdown_delay_s=SHUTDOWN_DELAY_S)) as guest:
        yield guest


@pytest.mark.requirement("LM-RES-08")
@pytest.mark.slow
def test_reboot_alone_brings_the_guest_back(slow_shutdown_guest: Guest) -> None:
    """
    If no migration takes place, the guest boots again after every kind of reboot.

    Preconditions: a guest with a shutdown time of several seconds.
    Expected: after a reboot by ACPI power button, guest agent or reset, the guest boots again on
    the same host.
    """
    for reboot_kind in RebootMethod:
        slow_shutdown_guest.boot_id = read_boot_id(slow_shutdown_guest)
        request_reboot(slow_shutdown_guest, reboot_kind)
        assert wait_for_reboot(slow_shutdown_guest), (
            f"the guest did not boot again after reboot method {reboot_kind}"
        )


@pytest.mark.requirement("LM-RES-08")
def test_acpi_reboot_during_a_migration_ends_in_shutdown(
    slow_shutdown_guest: Guest, testbed: Testbed
) -> None:
    """
    A guest that migrates during an ACPI reboot is off at the destination.

    Preconditions: for an ACPI reboot, libvirt presses the guest's power button, and the guest shuts
    down. The guest migrates during this shutdown. Without a migration, libvirt would start the
    guest again after the shutdown.
    Expected: the guest shuts down at the destination and stays off. The guest never runs on both
    hosts, and nothing of the guest stays at the source. If the guest starts again at the
    destination, the verdict is `unsupported`. The profile decides whether this verdict is accepted.
    """
    slow_shutdown_guest.domain.reboot(RebootMethod.ACPI)
    outcome = migrate(slow_shutdown_guest, testbed.destination, Plan())
    require_still_running(slow_shutdown_guest)
    require_no_second_copy(slow_shutdown_guest, testbed, outcome)

    if wait_for_shutdown_or_reboot(slow_shutdown_guest) is DomainState.RUNNING:
        versions = testbed.destination.query_versions()
        raise UnsupportedError(
            "the guest migrated during its ACPI reboot; then libvirt and QEMU started the guest "
            "again at the destination, but LM-RES-08 expects that the guest stays off; "
            f"versions: {versions}"
        )
    assert testbed.source.libvirt.find_domain(slow_shutdown_guest.name) is None


@pytest.mark.requirement("LM-RES-08")
@pytest.mark.parametrize("reboot_kind", [RebootMethod.AGENT, RebootMethod.RESET], ids=str)
def test_agent_reboot_and_reset_survive_a_migration(
    reboot_kind: RebootMethod, slow_shutdown_guest: Guest, testbed: Testbed
) -> None:
    """
    A reboot by the guest agent, or a reset, completes at the destination as usual.

    Preconditions: the reboot was requested just before the migration.
    Expected: the guest runs at the destination only, and has booted again. It never ran on both
    hosts.
    """
    request_reboot(slow_shutdown_guest, reboot_kind)
    outcome = migrate(slow_shutdown_guest, testbed.destination, Plan())
    require_no_second_copy(slow_shutdown_guest, testbed, outcome)

    assert wait_for_reboot(slow_shutdown_guest)
    assert testbed.destination.list_qemu_pids(slow_shutdown_guest.name)
    wait_for_single_copy(slow_shutdown_guest, (testbed.source,), may_stay=False)


def request_reboot(guest: Guest, reboot_kind: RebootMethod) -> None:
    """Request a reboot; before a reboot by the agent, wait for the agent.

    The agent starts later than the payload.
    """
    if reboot_kind is RebootMethod.AGENT:
        guest.wait_for_agent(Deadline(REBOOT_TIMEOUT_S))
    guest.domain.reboot(reboot_kind)


def read_boot_id(guest: Guest) -> str:
    """Return the boot id of the guest, or an empty string while the guest does not answer."""
    try:
        return str(guest.run_payload_command("status", seconds=ANSWER_TIMEOUT_S)["boot_id"])
    except (GuestError, TimedOut):
        return ""


def wait_for_reboot(guest: Guest) -> bool:
    """Wait until the guest has booted again, and return True."""
    has_rebooted = lambda: read_boot_id(guest) not in {"", guest.boot_id}  # noqa: E731
    return Deadline(REBOOT_TIMEOUT_S).wait_for(
        f"{guest.name} to boot again", has_rebooted, interval_s=0.1
    )


def require_still_running(guest: Guest) -> None:
    """Raise `InconclusiveError` if the guest is already off at the end of the migration.

    The migration must end while the guest shuts down.
    """
    if guest.query_state() is not DomainState.RUNNING:
        raise InconclusiveError(
            f"{guest.name} shut down too early: the guest must still run at the end of the "
            f"migration, but the state of the guest is {guest.query_state()}"
        )


def wait_for_shutdown_or_reboot(guest: Guest) -> DomainState:
    """Wait until the guest is off or has booted again, and return the state of the guest.

    Returns:
        `SHUT_OFF` if the guest is off, `GONE` if the guest is off and libvirt no longer has the
        domain, or `RUNNING` if the guest has booted again.
    """

    def read_end_state() -> DomainState | None:
        state = guest.query_state()
        if state in {DomainState.SHUT_OFF, DomainState.GONE}:
            return state
        has_rebooted = read_boot_id(guest) not in {"", guest.boot_id}
        return DomainState.RUNNING if has_rebooted else None

    return Deadline(SHUTDOWN_TIMEOUT_S).wait_for(
        f"{guest.name} to shut down or boot again", read_end_state, interval_s=0.1
    )
