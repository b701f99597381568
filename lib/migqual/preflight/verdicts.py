"""Findings, put shortly."""

from migqual.model.finding import Finding, Severity
from migqual.preflight.facts import Missing

Figure = float | str


def ok(name: str, words: str, **figures: Figure) -> Finding:
    return Finding(name, Severity.OK, words, figures)


def warning(name: str, words: str, remedy: str, **figures: Figure) -> Finding:
    return Finding(name, Severity.WARNING, words, figures, remedy)


def refused(name: str, words: str, remedy: str, **figures: Figure) -> Finding:
    return Finding(name, Severity.REFUSED, words, figures, remedy)


def unknown(
    name: str, what: str, missing: Missing, remedy: str = "", **figures: float | str
) -> Finding:
    return Finding(
        name,
        Severity.UNKNOWN,
        f"{what} is not known: {missing.why}",
        figures,
        remedy or "mend what keeps preflight from finding out, and ask again",
    )
