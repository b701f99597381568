"""Build the findings of preflight checks. Each severity has a function."""

from migqual.model.finding import Finding, Severity
from migqual.probes.fact import Missing

FigureValue = float | str


def report_ok(finding_id: str, message: str, **figures: FigureValue) -> Finding:
    """Build a finding of severity `ok`."""
    return Finding(finding_id, Severity.OK, message, figures)


def report_warning(finding_id: str, message: str, remedy: str, **figures: FigureValue) -> Finding:
    """Build a finding of severity `warning`."""
    return Finding(finding_id, Severity.WARNING, message, figures, remedy)


def report_refusal(finding_id: str, message: str, remedy: str, **figures: FigureValue) -> Finding:
    """Build a finding of severity `refused`."""
    return Finding(finding_id, Severity.REFUSED, message, figures, remedy)


def report_unknown(
    finding_id: str, message: str, missing: Missing, remedy: str = "", **figures: float | str
) -> Finding:
    """Build a finding of severity `unknown`.

    Args:
        finding_id: Id of the finding, for example ``LM-PRE-03.agent``.
        message: What is unknown, for example ``cannot determine whether a job runs``.
        missing: The missing fact. The function appends to `message` the reason why the fact is
            missing.
        remedy: The remedy. An empty string selects a general remedy.
        **figures: Figures on which the result is based, with the units in the names.
    """
    return Finding(
        finding_id,
        Severity.UNKNOWN,
        f"{message}: {missing.reason}",
        figures,
        remedy or "remove the reported cause, and run preflight again",
    )
