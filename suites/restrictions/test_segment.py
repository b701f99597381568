"""LM-RES-10: both hosts attach guests to the same segment of the service network."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import TimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.migration.run import migrate
from migqual.model.finding import Severity
from migqual.model.guest import GuestSpec
from migqual.model.plan import Guard, Plan
from migqual.observe.observed import Observers
from suites.prerequisites.damage import off_the_segment
from suites.prerequisites.looking import Look

UNREACHABLE_SECONDS = 1.5
# ms between the announcements of a guest's addresses, and their number: QEMU's defaults
ANNOUNCEMENTS = {"initial": 50, "max": 550, "rounds": 5, "step": 100}


@pytest.mark.requirement("LM-RES-10")
def test_same_segment(look: Look, standing: Guest) -> None:
    """
    Bridges of one segment are found to be one.

    Preconditions: both service bridges have their uplinks.
    Expected: frames pass both ways.
    """
    assert look(standing.name)["LM-RES-10.segment"].verdict is Severity.OK


@pytest.mark.requirement("LM-RES-10")
def test_other_segment(look: Look, standing: Guest, pair: Pair, provision: Provisioner) -> None:
    """
    A bridge of the same name on another segment is found.

    Preconditions: the destination's service bridge has lost its uplink.
    Expected: refused.
    """
    with off_the_segment(provision, pair.destination):
        finding = look(standing.name)["LM-RES-10.segment"]

    assert finding.verdict is Severity.REFUSED


@pytest.mark.requirement("LM-RES-10")
def test_guest_on_another_segment_is_unreachable(
    make_guest: MakeGuest, observers: dict[str, Observers], pair: Pair, provision: Provisioner
) -> None:
    """
    Where the guard is off and the segment another one, the guest arrives and nobody reaches it.

    Preconditions: the destination's service bridge has lost its uplink.
    Expected: the migration succeeds, and the client's probes say that the guest does not answer.
    Once the bridge is back and the destination's QEMU has announced the guest again, it answers.
    """
    guest = make_guest(GuestSpec())
    meter = observers[guest.name].meter
    with off_the_segment(provision, pair.destination):
        migrate(guest, pair.destination, Plan(guard=Guard.OFF))
        with pytest.raises(TimedOut, match="answer of the guest"):
            meter.answer_after(meter.mark(), UNREACHABLE_SECONDS)
    # what QEMU announced after the migration was lost: switches and the client still look for the
    # guest at the source
    guest.domain.monitor("announce-self", **ANNOUNCEMENTS)

    assert meter.answer_after(meter.mark())
