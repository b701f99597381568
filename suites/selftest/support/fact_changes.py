"""Change the preflight facts of a healthy pair, and evaluate the changed facts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from migqual.model.finding import Finding, Severity
from migqual.preflight.checks import evaluate_facts
from migqual.preflight.facts import ConnectionPurpose, MigrationFacts, PreflightFacts
from migqual.preflight.storage_facts import DiskLocation, FileSystem
from migqual.probes.fact import Fact, Missing
from suites.selftest.support.preflight_facts import SAFE_LOGIN, make_disk_fact, make_healthy_facts

UNKNOWN_FACT = Missing("nobody answered")
FactChange = Callable[[MigrationFacts], MigrationFacts]


def change_facts(**changes: Any) -> FactChange:  # noqa: ANN401 - any field
    return lambda facts: replace(facts, **changes)


def change_part(name: str, **changes: Any) -> FactChange:  # noqa: ANN401
    """Return a function that changes fields of the part `name` of the facts, e.g. `destination`."""
    return lambda facts: replace(facts, **{name: replace(getattr(facts, name), **changes)})


def combine_changes(*changes: FactChange) -> FactChange:
    def apply_changes(facts: MigrationFacts) -> MigrationFacts:
        for change in changes:
            facts = change(facts)
        return facts

    return apply_changes


def fail_connection(purpose: ConnectionPurpose, *, succeeded: bool | Missing) -> FactChange:
    def replace_attempt(facts: MigrationFacts) -> MigrationFacts:
        first_attempt = next(
            attempt for attempt in facts.connection_attempts if attempt.purpose is purpose
        )
        other_attempts = tuple(
            attempt for attempt in facts.connection_attempts if attempt is not first_attempt
        )
        return replace(
            facts,
            connection_attempts=(
                replace(first_attempt, succeeded=succeeded, message="refused"),
                *other_attempts,
            ),
        )

    return replace_attempt


def make_disk_local(**disk_fields: Any) -> FactChange:  # noqa: ANN401
    return change_facts(disks=(make_disk_fact("vda", DiskLocation.LOCAL, **disk_fields),))


def place_disk_on(filesystem: Fact[FileSystem], *, readonly: bool = False) -> FactChange:
    """Put the guest's disk into a file, shared by both hosts, on the given file system."""
    disk_fact = make_disk_fact("vda", DiskLocation.SHARED, filesystem=filesystem, readonly=readonly)
    return change_facts(disks=(disk_fact,))


def evaluate_changed_facts(change: FactChange | None = None) -> dict[str, list[Finding]]:
    facts = make_healthy_facts() if change is None else change(make_healthy_facts())
    findings_by_id: dict[str, list[Finding]] = {}
    for finding in evaluate_facts(PreflightFacts((SAFE_LOGIN, SAFE_LOGIN), facts)):
        findings_by_id.setdefault(finding.id, []).append(finding)
    return findings_by_id


def assert_check_fires(check: str, change: FactChange, severity: Severity) -> None:
    """Assert that the changed facts cause one finding of the check, with a message and a remedy."""
    (finding,) = evaluate_changed_facts(change)[check]

    assert finding.severity is severity
    assert finding.message
    assert finding.remedy
