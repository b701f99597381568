"""Preflight as a library: facts, checks, and the guard that stands before a migration."""

from collections.abc import Iterable

from migqual.errors import GuardRefusal
from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Plan
from migqual.preflight.checks import run_checks
from migqual.preflight.collect import Move, collect
from migqual.preflight.tools import Tools

_DEFAULT = Plan()


def preflight(
    guest: str, source: Host, destination: Host, tools: Tools, plan: Plan = _DEFAULT
) -> tuple[Finding, ...]:
    """What stands between the domain called `guest` and a migration by `plan`.

    Raises `UsageError` when the source has no such domain. Nothing else is raised for what is
    wrong with hosts: that is what findings are for.
    """
    return run_checks(collect(Move(guest, source, destination, plan), tools))


# what must be known before it is done: a wrong guess would cost data
_MUST_KNOW = ("LM-NSS-01",)


def guard(findings: Iterable[Finding]) -> None:
    """Raises `GuardRefusal` with every finding that refuses, and with what must be known and is
    not: whether a disk would be copied over itself."""
    refused = [
        finding
        for finding in findings
        if finding.verdict is Severity.REFUSED
        or (finding.verdict is Severity.UNKNOWN and finding.requirement in _MUST_KNOW)
    ]
    if refused:
        raise GuardRefusal(refused)
