"""LM-RES-08: a guest that is migrated while it reboots by its power button."""

from collections.abc import Iterator

import pytest

from fixtures.plugins.hosts import Pair
from migqual.deadline import Deadline
from migqual.errors import GuestError, InconclusiveError, TimedOut, UnsupportedError
from migqual.hosts.domain import Reboot
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.migration.run import migrate
from migqual.model.guest import GuestSpec
from migqual.model.plan import Plan

SLOW_S = 4  # how long the guest takes to go down
BACK_S = 40.0
GONE_S = 30.0
ANSWER_S = 2.0  # of a payload that is there


@pytest.fixture
def slow(pair: Pair, provision: Provisioner) -> Iterator[Guest]:
    """A guest that takes seconds to go down. No observer: it is meant to boot again."""
    spec = GuestSpec(shutdown_delay_s=SLOW_S)
    with provision.guest(spec, pair.source, pair.destination) as guest:
        yield guest


@pytest.mark.requirement("LM-RES-08")
@pytest.mark.long
def test_reboot_alone_brings_the_guest_back(slow: Guest) -> None:
    """
    Without a migration every kind of reboot brings the guest back.

    Preconditions: a guest that takes seconds to go down by itself.
    Expected: by power button, agent and reset it boots again on the same host.
    """
    for way in Reboot:
        slow.boot_id = booted(slow)
        ask_for_reboot(slow, way)
        assert came_back(slow), f"not back after a reboot by {way}"


@pytest.mark.requirement("LM-RES-08")
def test_acpi_reboot_during_a_migration_ends_in_shutdown(slow: Guest, pair: Pair) -> None:
    """
    A guest that is migrated while it reboots by its power button is off at the destination.

    Preconditions: the power button was pressed, and the guest is still on its way down when it
    arrives.
    Expected: it shuts down at the destination and stays off. A stack that restarts it there instead
    is reported as such, and the profile decides.
    """
    slow.domain.reboot(Reboot.ACPI)
    migrate(slow, pair.destination, Plan())
    still_up(slow)

    if came_back_or_off(slow) == "back":
        versions = pair.destination.libvirt.versions()
        raise UnsupportedError(f"this stack restarts the guest at the destination: {versions}")
    assert pair.source.libvirt.lookup(slow.name) is None


@pytest.mark.requirement("LM-RES-08")
@pytest.mark.parametrize("way", [Reboot.AGENT, Reboot.RESET], ids=str)
def test_other_reboots_survive_a_migration(way: Reboot, slow: Guest, pair: Pair) -> None:
    """
    A reboot that the guest does by itself, or a reset, is over at the destination as usual.

    Preconditions: the reboot was asked for just before the migration.
    Expected: the guest runs at the destination and has booted again.
    """
    ask_for_reboot(slow, way)
    migrate(slow, pair.destination, Plan())

    assert came_back(slow)
    assert slow.host is pair.destination


def ask_for_reboot(guest: Guest, way: Reboot) -> None:
    """Reboot the guest once its agent listens, which begins after the payload does."""
    if way is Reboot.AGENT:
        guest.wait_ready(Deadline(BACK_S))
    guest.domain.reboot(way)


def booted(guest: Guest) -> str:
    """The guest's boot id, or nothing while it does not answer."""
    try:
        return str(guest.payload("status", seconds=ANSWER_S)["boot_id"])
    except (GuestError, TimedOut):
        return ""


def came_back(guest: Guest) -> bool:
    """Whether the guest has booted again."""
    probe = lambda: booted(guest) not in {"", guest.boot_id}  # noqa: E731
    return Deadline(BACK_S).wait_for(f"{guest.name} to boot again", probe, interval=0.1)


def still_up(guest: Guest) -> None:
    """The migration must fall into the time in which the guest goes down."""
    if guest.state() != "running":
        raise InconclusiveError(f"{guest.name} was {guest.state()} before it could be looked at")


def came_back_or_off(guest: Guest) -> str:
    """What became of it: ``off``, ``gone`` or ``back``."""

    def look() -> str | None:
        state = guest.state()
        if state in {"off", "gone"}:
            return state
        return "back" if booted(guest) not in {"", guest.boot_id} else None

    return Deadline(GONE_S).wait_for(f"{guest.name} to shut down or boot again", look, interval=0.1)
