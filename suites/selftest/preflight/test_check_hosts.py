"""The checks of SSH logins and of connections between the hosts report bad facts."""

from dataclasses import replace

import pytest

from migqual.model.finding import Severity
from migqual.model.plan import Control, Plan
from migqual.preflight.checks import CHECKS, STORAGE_CHECKS, evaluate_facts
from migqual.preflight.facts import ConnectionPurpose, PreflightFacts, SshLogin
from suites.selftest.support.fact_changes import (
    UNKNOWN_FACT,
    change_facts,
    combine_changes,
    evaluate_changed_facts,
    fail_connection,
)
from suites.selftest.support.preflight_facts import SAFE_LOGIN, make_healthy_facts

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize(
    ("login", "check", "severity"),
    [
        (replace(SAFE_LOGIN, accepts_inventory_key=False), "key", Severity.REFUSED),
        (replace(SAFE_LOGIN, accepts_inventory_key=UNKNOWN_FACT), "key", Severity.UNKNOWN),
        (
            replace(SAFE_LOGIN, keyless_methods=frozenset({"password"})),
            "password",
            Severity.REFUSED,
        ),
        (
            replace(SAFE_LOGIN, keyless_methods=frozenset({"keyboard-interactive"})),
            "password",
            Severity.REFUSED,
        ),
        (replace(SAFE_LOGIN, keyless_methods=frozenset({"none"})), "password", Severity.REFUSED),
        (replace(SAFE_LOGIN, keyless_methods=UNKNOWN_FACT), "password", Severity.UNKNOWN),
        (replace(SAFE_LOGIN, accepts_wrong_key=True), "wrong-key", Severity.REFUSED),
        (replace(SAFE_LOGIN, accepts_wrong_key=UNKNOWN_FACT), "wrong-key", Severity.UNKNOWN),
        (replace(SAFE_LOGIN, accepts_unknown_host_key=True), "host-key", Severity.REFUSED),
        (replace(SAFE_LOGIN, accepts_unknown_host_key=UNKNOWN_FACT), "host-key", Severity.UNKNOWN),
    ],
    ids=str,
)
def test_ssh_login_check_fires(login: SshLogin, check: str, severity: Severity) -> None:
    findings = evaluate_facts(PreflightFacts((login,), make_healthy_facts()))

    (finding,) = [finding for finding in findings if finding.id == f"LM-PRE-05.{check}"]
    assert finding.severity is severity
    assert finding.remedy


def test_failed_ssh_login_makes_other_checks_unknown() -> None:
    findings = evaluate_facts(
        PreflightFacts((replace(SAFE_LOGIN, accepts_inventory_key=UNKNOWN_FACT),), UNKNOWN_FACT)
    )

    other_findings = [finding for finding in findings if not finding.id.startswith("LM-PRE-05")]
    assert len(other_findings) == len(CHECKS) + len(STORAGE_CHECKS)
    assert {finding.severity for finding in other_findings} == {Severity.UNKNOWN}


def test_managed_direct_needs_no_libvirt_between_the_hosts() -> None:
    change = combine_changes(
        fail_connection(ConnectionPurpose.LIBVIRT, succeeded=False),
        change_facts(plan=Plan(control=Control.DIRECT)),
    )

    assert evaluate_changed_facts(change)["LM-PRE-01.libvirt"][0].severity is Severity.OK


def test_data_port_is_needed_in_both_directions() -> None:
    one_way = change_facts(
        connection_attempts=tuple(
            attempt for attempt in make_healthy_facts().connection_attempts if attempt.host == "a"
        )
    )

    assert evaluate_changed_facts(one_way)["LM-PRE-01.data"][0].severity is Severity.UNKNOWN


def test_connection_finding_names_hosts_and_endpoint() -> None:
    finding = evaluate_changed_facts(fail_connection(ConnectionPurpose.DATA, succeeded=False))[
        "LM-PRE-01.data"
    ][0]

    assert "a cannot connect to b (10.0.0.2 port 1)" in finding.message
