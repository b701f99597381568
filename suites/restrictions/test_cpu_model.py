"""LM-RES-09: source and destination have the same CPU model."""

import pytest

from fixtures.plugins.preflight import PreflightRunner
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationRefused
from migqual.hosts.guest import Guest
from migqual.model.finding import Severity
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Control, Guard, Plan
from migqual.testbed.testbed import Testbed
from suites.support.faults import inject_cpu_mismatch, inject_missing_cpu_feature
from suites.support.stack_refusals import expect_stack_refusal

FEATURE = "lahf_lm"  # every CPU model of 64 bits has the feature, and no CPU model of 32 bits


@pytest.mark.requirement("LM-RES-09")
def test_same_cpus(run_preflight: PreflightRunner, shared_idle_guest: Guest) -> None:
    """
    Preflight recognizes two hosts with the same CPU.

    Preconditions: a pair of equal hosts.
    Expected: the CPUs of the hosts compare as identical. The destination offers the guest's
    CPU.
    """
    findings = run_preflight(shared_idle_guest.name)

    assert findings["LM-RES-09.hosts"].severity is Severity.OK
    assert findings["LM-RES-09.guest"].severity is Severity.OK


@pytest.mark.requirement("LM-RES-09")
def test_hosts_with_different_cpus(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    Preflight finds different host CPUs, even when both hosts offer the guest's CPU model.

    Preconditions: the kernel of the destination reports another CPU.
    Expected: a warning with the names of both hosts.
    """
    with inject_cpu_mismatch(testbed.provisioner, testbed.destination):
        finding = run_preflight(shared_idle_guest.name)["LM-RES-09.hosts"]

    assert finding.severity is Severity.WARNING
    assert {testbed.source.name, testbed.destination.name} <= set(finding.figures)


@pytest.mark.requirement("LM-RES-09")
@pytest.mark.guest_architecture("x86_64")  # libvirt compares no emulated CPUs of aarch64
def test_destination_lacks_a_feature_of_the_guests_cpu(
    run_preflight: PreflightRunner, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    Preflight and libvirt refuse a guest if the destination does not offer the guest's CPU.

    Preconditions: no CPU model at the destination has a certain feature of the guest's CPU.
    Expected: preflight refuses and names the feature. Without the guard libvirt refuses the
    guest's CPU, and the guest runs on at the source, unharmed.
    """
    guest = testbed.make_guest(GuestSpec())
    with inject_missing_cpu_feature(testbed.provisioner, testbed.destination, FEATURE):
        finding = run_preflight(guest.name)["LM-RES-09.guest"]
        plan = Plan(control=Control.DIRECT, guard=Guard.OFF)
        message = expect_stack_refusal(testbed, guest, plan, MigrationRefused)
        record_stack_message("cpu-feature-missing", message)

    assert finding.severity is Severity.REFUSED
    assert FEATURE in finding.message
