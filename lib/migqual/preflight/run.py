"""Run preflight from Python code, and raise an error if a finding refuses the migration."""

from collections.abc import Iterable

from migqual.errors import GuardRefusal
from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Plan
from migqual.preflight.checks import evaluate_facts
from migqual.preflight.collect import MigrationRequest, collect_facts
from migqual.probes.probe_context import ProbeContext

_DEFAULT_PLAN = Plan()


def run_preflight_checks(
    guest: str,
    source: Host,
    destination: Host,
    probe_context: ProbeContext,
    plan: Plan = _DEFAULT_PLAN,
) -> tuple[Finding, ...]:
    """Run all preflight checks for a migration of the guest.

    A problem of a host raises no error. The problem is reported as a finding.

    Args:
        guest: Name of the domain at the source.
        source: Host with the guest.
        destination: Host to which the guest would migrate.
        probe_context: Helper program, journal and mode (writing or read-only) of the probes.
        plan: Settings of the migration.

    Returns:
        The findings of all checks.

    Raises:
        UsageError: The source has no domain with the name `guest`.

    Example:
        Check the guest web1 with read-only probes, and raise an error if a finding refuses the
        migration::

            payload = ensure_payload(paths.get_cache_folder(), print)
            hosts = (source, destination)
            with staged_payload(hosts, journal, payload, ProbeMode.READ_ONLY) as probe_context:
                findings = run_preflight_checks("web1", source, destination, probe_context)
            raise_if_refused(findings)
    """
    return evaluate_facts(
        collect_facts(MigrationRequest(guest, source, destination, plan), probe_context)
    )


# refuse an unknown result of these requirements, too: a wrong guess would destroy data
_REFUSED_WHEN_UNKNOWN = ("LM-NSS-01",)


def raise_if_refused(findings: Iterable[Finding]) -> None:
    """Raise an error when a finding refuses the migration.

    A finding of severity `refused` refuses the migration. A finding of LM-NSS-01 with the severity
    `unknown` also refuses the migration, because the migration could copy a disk onto its own
    image.

    Raises:
        GuardRefusal: A finding refuses the migration. The error holds all such findings.
    """
    refusals = [
        finding
        for finding in findings
        if finding.severity is Severity.REFUSED
        or (
            finding.severity is Severity.UNKNOWN and finding.requirement_id in _REFUSED_WHEN_UNKNOWN
        )
    ]
    if refusals:
        raise GuardRefusal(refusals)
