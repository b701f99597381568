"""Select the tests of a smoke run, which runs the shortest test of each requirement."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import UsageError
from migqual.paths import FIXTURES

DURATIONS_FILE = FIXTURES / "durations.json"
SMOKE_DEFAULT_SECONDS = 60.0  # for a test without a measured duration


@dataclass(frozen=True)
class SmokeCandidate:
    """A test that a smoke run can select.

    Attributes:
        id: Test id without the pair.
        requirements: Ids of the requirements covered by the test.
    """

    id: str
    requirements: tuple[str, ...]


def choose_tests(
    candidates: Sequence[SmokeCandidate], seconds: Mapping[str, float]
) -> tuple[SmokeCandidate, ...]:
    """Choose a test for each requirement that a candidate covers.

    The requirement with the fewest candidates comes first. A requirement gets the shortest
    candidate, unless an already chosen test covers the requirement.

    Args:
        candidates: All tests to choose from.
        seconds: Duration of each test by id, in s. A test without an entry counts as 60 s.

    Returns:
        The chosen tests, in the order of `candidates`.
    """
    by_requirement: dict[str, list[SmokeCandidate]] = {}
    for candidate in candidates:
        for requirement in candidate.requirements:
            by_requirement.setdefault(requirement, []).append(candidate)
    chosen_ids: set[str] = set()
    for _, requirement_candidates in sorted(
        by_requirement.items(), key=lambda item: (len(item[1]), item[0])
    ):
        if not any(candidate.id in chosen_ids for candidate in requirement_candidates):
            shortest = min(
                requirement_candidates,
                key=lambda candidate: (
                    seconds.get(candidate.id, SMOKE_DEFAULT_SECONDS),
                    candidate.id,
                ),
            )
            chosen_ids.add(shortest.id)
    return tuple(candidate for candidate in candidates if candidate.id in chosen_ids)


def read_durations(file: Path = DURATIONS_FILE) -> dict[str, float]:
    """Read the duration of each test from a durations file.

    Args:
        file: JSON file with the seconds of each test, by test id without the pair.

    Returns:
        Seconds by test id.

    Raises:
        UsageError: The file cannot be read, or does not contain durations.
    """
    try:
        durations = json.loads(file.read_text(encoding="utf-8"))
        return {str(test): float(seconds) for test, seconds in durations.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file}: the durations of tests cannot be read: {error}",
            remedy=f"run all tests, then run `migqual report --durations {file}`",
        ) from error


def render_durations(
    passed_tests: Iterable[tuple[str, float]], previous_durations: Mapping[str, float]
) -> str:
    """Render the text of a durations file, sorted by test id.

    Args:
        passed_tests: Id and seconds of each passed test. If an id occurs several times, the
            shortest duration counts.
        previous_durations: Seconds by test id, kept for each test without a new duration.

    Returns:
        The JSON text, with durations rounded to 0.1 s.
    """
    new_durations: dict[str, float] = {}
    for test, seconds in passed_tests:
        new_durations[test] = min(seconds, new_durations.get(test, seconds))
    durations = {**previous_durations, **new_durations}
    rows = {test: round(durations[test], 1) for test in sorted(durations)}
    return json.dumps(rows, indent=0) + "\n"
