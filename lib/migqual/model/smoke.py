"""Which tests a smoke run takes: of each requirement the shortest that shows it. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import UsageError
from migqual.places import FIXTURES

DURATIONS = FIXTURES / "durations.json"
UNKNOWN_SECONDS = 60.0  # of a test that never passed where the durations were taken


@dataclass(frozen=True)
class Candidate:
    """A test that may be taken: its id without the pair, and the requirements that it shows."""

    id: str
    requirements: tuple[str, ...]


def choose_tests(
    candidates: Sequence[Candidate], seconds: Mapping[str, float]
) -> tuple[Candidate, ...]:
    """One test for each requirement that the candidates show, in their order.

    Requirements with the fewest candidates choose first, so that a test which has to run anyway
    serves its other requirements too. Among several the shortest is taken; `seconds` are those of
    tests that passed once, the others count as a minute.
    """
    by_requirement: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        for requirement in candidate.requirements:
            by_requirement.setdefault(requirement, []).append(candidate)
    chosen: set[str] = set()
    for _, able in sorted(by_requirement.items(), key=lambda item: (len(item[1]), item[0])):
        if not any(candidate.id in chosen for candidate in able):
            shortest = min(able, key=lambda one: (seconds.get(one.id, UNKNOWN_SECONDS), one.id))
            chosen.add(shortest.id)
    return tuple(candidate for candidate in candidates if candidate.id in chosen)


def read_durations(file: Path = DURATIONS) -> dict[str, float]:
    """Seconds of each test that passed where they were taken, by its id without the pair.

    Raises `UsageError` for a file that does not hold them.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {str(test): float(seconds) for test, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file}: no durations of tests: {error}",
            remedy=f"migqual report --durations {file}, after a whole run",
        ) from error


def render_durations(passed: Iterable[tuple[str, float]], known: Mapping[str, float]) -> str:
    """The text of a durations file: the shortest time of each test in `passed`, in the order of
    ids; `known` ones stay where nothing newer is known."""
    newest: dict[str, float] = {}
    for test, seconds in passed:
        newest[test] = min(seconds, newest.get(test, seconds))
    found = {**known, **newest}
    rows = {test: round(found[test], 1) for test in sorted(found)}
    return json.dumps(rows, indent=0) + "\n"
