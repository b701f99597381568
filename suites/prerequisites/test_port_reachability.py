"""LM-PRE-01: the hosts can communicate, and preflight finds a blocked port."""

import pytest

from fixtures.plugins.preflight import PreflightRunner
from migqual.errors import GuardRefusal
from migqual.hosts.guest import Guest
from migqual.model.finding import Severity
from migqual.model.plan import Control, Plan
from migqual.preflight.run import raise_if_refused
from migqual.testbed.testbed import Testbed
from suites.support.faults import build_address_match, inject_tcp_reset

CONTROL_PORT = "tcp dport {ssh_port}"
DATA_PORTS = "tcp dport 49152-49215"


@pytest.mark.requirement("LM-PRE-01")
@pytest.mark.parametrize(
    ("check", "ports"), [("control", CONTROL_PORT), ("data", DATA_PORTS)], ids=str
)
@pytest.mark.parametrize("hook", ["input", "output"], ids=["inward", "outward"])
def test_port_closed_in_one_direction(
    check: str,
    ports: str,
    hook: str,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    testbed: Testbed,
) -> None:
    """
    A port closed in either direction is found and reported with both hosts.

    Preconditions: the firewall of the destination rejects the port on the migration network,
    inbound or outbound.
    Expected: the check of the port refuses and names the source and destination of the
    connection.
    """
    source_address = testbed.source.entry.migration_endpoint
    address_field = "saddr" if hook == "input" else "daddr"
    server = testbed.destination if hook == "input" else testbed.source
    rule = f"{hook} {build_address_match(address_field, source_address)} {ports}"
    with inject_tcp_reset(
        testbed.provisioner, testbed.destination, rule.format(ssh_port=server.entry.port)
    ):
        finding = run_preflight(shared_idle_guest.name)[f"LM-PRE-01.{check}"]

    assert finding.severity is Severity.REFUSED
    assert testbed.source.name in finding.message
    assert finding.remedy


@pytest.mark.requirement("LM-PRE-01")
@pytest.mark.parametrize(
    ("control", "verdict"),
    [(Control.PEER_TO_PEER, Severity.REFUSED), (Control.DIRECT, Severity.OK)],
    ids=str,
)
def test_libvirt_unreachable_from_source(
    control: Control,
    verdict: Severity,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    testbed: Testbed,
) -> None:
    """
    If the source cannot reach libvirt at the destination, only peer-to-peer migrations are
    refused.

    The controller drives a managed direct migration, so the source needs no connection.

    Preconditions: the destination rejects connections from the source to libvirt's port.
    Expected: the check refuses a peer-to-peer migration. For a managed direct migration the check
    is ok.
    """
    source_address = testbed.source.entry.migration_endpoint
    control_port = CONTROL_PORT.format(ssh_port=testbed.destination.entry.port)
    rule = f"input {build_address_match('saddr', source_address)} {control_port}"
    with inject_tcp_reset(testbed.provisioner, testbed.destination, rule):
        findings = run_preflight(shared_idle_guest.name, Plan(control=control))

    assert findings["LM-PRE-01.libvirt"].severity is verdict


@pytest.mark.requirement("LM-PRE-01")
def test_guard_names_the_closed_port(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    The guard stops a migration over a closed port before any change.

    Preconditions: the firewall of the destination closes the migration ports.
    Expected: the guard refuses with the finding about the closed ports, its figures and its
    remedy.
    """
    source_address = testbed.source.entry.migration_endpoint
    rule = f"input {build_address_match('saddr', source_address)} {DATA_PORTS}"
    with inject_tcp_reset(testbed.provisioner, testbed.destination, rule):
        findings = run_preflight(shared_idle_guest.name).values()

    with pytest.raises(GuardRefusal, match=r"LM-PRE-01\.data") as refusal:
        raise_if_refused(findings)
    assert [finding.id for finding in refusal.value.findings] == ["LM-PRE-01.data"]
