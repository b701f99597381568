"""Preflight on a healthy pair has no objection to the migration."""

import pytest

from fixtures.plugins.preflight import PreflightRunner
from migqual.hosts.guest import Guest
from migqual.model.finding import Severity


@pytest.mark.requirement("LM-PRE-01", "LM-PRE-02", "LM-PRE-03", "LM-PRE-04", "LM-PRE-05")
def test_every_check_passes_on_a_healthy_pair(
    run_preflight: PreflightRunner, shared_idle_guest: Guest
) -> None:
    """
    Every prerequisite check passes for a healthy guest on a healthy pair.

    Preconditions: a running guest with a disk on each shared store. Both hosts reach each
    other, the stores and the networks.
    Expected: every prerequisite check can collect its facts, and every finding is ok.
    """
    findings = run_preflight(shared_idle_guest.name)

    failed_checks = {
        check_id: finding.message
        for check_id, finding in findings.items()
        if check_id.startswith("LM-PRE") and finding.severity is not Severity.OK
    }
    assert not failed_checks
