"""LM-PRE-01: the hosts can communicate, and preflight notices when they cannot."""

import pytest

from fixtures.plugins.hosts import Pair
from migqual.errors import GuardRefusal
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from migqual.model.plan import Control, Plan
from migqual.preflight.run import guard
from suites.prerequisites.damage import rejecting
from suites.prerequisites.looking import Look

CONTROL = "tcp dport 22"
DATA = "tcp dport 49152-49215"


@pytest.mark.requirement("LM-PRE-01")
@pytest.mark.parametrize(("check", "ports"), [("control", CONTROL), ("data", DATA)], ids=str)
@pytest.mark.parametrize("hook", ["input", "output"], ids=["inward", "outward"])
def test_port_closed_in_one_direction(
    check: str,
    ports: str,
    hook: str,
    look: Look,
    standing: Guest,
    pair: Pair,
    provision: Provisioner,
) -> None:
    """
    A port that is closed in either direction is found, and named with both hosts.

    Preconditions: the destination's firewall turns away the port on the migration network, inward
    or outward.
    Expected: the check of that port refuses and names where it tried to connect.
    """
    network = pair.source.entry.migration_address
    side = "saddr" if hook == "input" else "daddr"
    with rejecting(provision, pair.destination, f"{hook} ip {side} {network} {ports}"):
        finding = look(standing.name)[f"LM-PRE-01.{check}"]

    assert finding.verdict is Severity.REFUSED
    assert pair.source.name in finding.words
    assert finding.remedy


@pytest.mark.requirement("LM-PRE-01")
@pytest.mark.parametrize(
    ("control", "verdict"),
    [(Control.PEER_TO_PEER, Severity.REFUSED), (Control.DIRECT, Severity.OK)],
    ids=str,
)
def test_libvirt_out_of_the_peers_reach(
    control: Control,
    verdict: Severity,
    look: Look,
    standing: Guest,
    pair: Pair,
    provision: Provisioner,
) -> None:
    """
    A destination whose libvirt the source cannot reach is no good peer; for a migration that the
    controller drives that is no matter.

    Preconditions: the destination takes no connection to libvirt's port from the source.
    Expected: refused peer-to-peer, nothing said against managed direct.
    """
    source = pair.source.entry.migration_address
    with rejecting(provision, pair.destination, f"input ip saddr {source} {CONTROL}"):
        found = look(standing.name, Plan(control=control))

    assert found["LM-PRE-01.libvirt"].verdict is verdict


@pytest.mark.requirement("LM-PRE-01")
def test_guard_names_what_it_refuses(
    look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    The guard stops a move over a closed port before anything is touched.

    Preconditions: the destination's firewall closes the migration ports.
    Expected: a refusal that holds the finding, its figures and its remedy.
    """
    source = pair.source.entry.migration_address
    with rejecting(provision, pair.destination, f"input ip saddr {source} {DATA}"):
        found = look(standing.name).values()

    with pytest.raises(GuardRefusal, match=r"LM-PRE-01\.data") as refusal:
        guard(found)
    assert [one.id for one in refusal.value.findings] == ["LM-PRE-01.data"]
