"""LM-RES-09: source and destination have the same CPU model."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationRefused
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from migqual.model.guest import GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Guard, Plan
from suites.prerequisites.damage import cpu_without, other_cpu
from suites.prerequisites.looking import Look

Migrate = Callable[..., Outcome]
FEATURE = "lahf_lm"  # in every CPU model of 64 bits, and in none of less


@pytest.mark.requirement("LM-RES-09")
def test_same_cpus(look: Look, standing: Guest) -> None:
    """
    Two hosts with the same CPU are taken for what they are.

    Preconditions: a pair of equal hosts.
    Expected: the hosts' CPUs compare as identical, and the destination offers the guest's.
    """
    found = look(standing.name)

    assert found["LM-RES-09.hosts"].verdict is Severity.OK
    assert found["LM-RES-09.guest"].verdict is Severity.OK


@pytest.mark.requirement("LM-RES-09")
def test_hosts_with_different_cpus(
    look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    Hosts whose CPUs differ are found, also where the guest's own model exists on both.

    Preconditions: the destination's kernel tells of another CPU.
    Expected: a warning that names both.
    """
    with other_cpu(provision, pair.destination):
        finding = look(standing.name)["LM-RES-09.hosts"]

    assert finding.verdict is Severity.WARNING
    assert {pair.source.name, pair.destination.name} <= set(finding.figures)


@pytest.mark.requirement("LM-RES-09")
def test_destination_lacks_a_feature_of_the_guests_cpu(
    look: Look, make_guest: MakeGuest, migrate: Migrate, pair: Pair, provision: Provisioner
) -> None:
    """
    A guest whose CPU the destination lacks is refused by the guard, and by the stack too.

    Preconditions: no CPU at the destination has a feature that the guest uses.
    Expected: the guard names the feature; without the guard libvirt refuses the guest's CPU, and
    the guest runs on unharmed where it is.
    """
    guest = make_guest(GuestSpec())
    with cpu_without(provision, pair.destination, FEATURE):
        finding = look(guest.name)["LM-RES-09.guest"]
        with pytest.raises(MigrationRefused, match=f"(?i)cpu.*missing features.*{FEATURE}"):
            migrate(guest, Plan(control=Control.DIRECT, guard=Guard.OFF))

    assert finding.verdict is Severity.REFUSED
    assert FEATURE in finding.words
