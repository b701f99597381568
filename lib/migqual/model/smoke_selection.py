"""Select the tests of a smoke run: the shortest test of each requirement."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import UsageError
from migqual.paths import FIXTURES

DURATIONS_FILE = FIXTURES / "durations.json"
SMOKE_DEFAULT_SECONDS = 60.0  # of a test that never passed where the durations were taken


@dataclass(frozen=True)
class SmokeCandidate:
    """A test for a possible smoke run.

    Attributes:
        id: Test id without the pair.
        requirements: Ids of the requirements covered by the test.
    """

    id: str
    requirements: tuple[str, ...]


def choose_tests(
    candidates: Sequence[SmokeCandidate], seconds: Mapping[str, float]
) -> tuple[SmokeCandidate, ...]:
    """Choose a test for each requirement of the candidates.

    Requirements with the fewest candidates choose first, so an already chosen test also serves
    other requirements. Among several candidates the shortest test wins.

    Args:
        candidates: All possible tests.
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
    """Read the durations of the passed tests.

    Args:
        file: JSON file with the seconds of each test, by test id without the pair.

    Returns:
        Seconds by test id.

    Raises:
        UsageError: The file cannot be read or holds no durations.
    """
    try:
        durations = json.loads(file.read_text(encoding="utf-8"))
        return {str(test): float(seconds) for test, seconds in durations.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file}: no durations of tests can be read: {error}",
            remedy=f"run all tests, then: migqual report --durations {file}",
        ) from error


def render_durations(
    passed_tests: Iterable[tuple[str, float]], previous_durations: Mapping[str, float]
) -> str:
    """Render the text of a durations file, sorted by test id.

    Args:
        passed_tests: Id and seconds of each passed test. The shortest duration of a test
            counts.
        previous_durations: Earlier durations by id, kept for tests without a new duration.

    Returns:
        The JSON text, with durations rounded to 0.1 s.
    """
    new_durations: dict[str, float] = {}
    for test, seconds in passed_tests:
        new_durations[test] = min(seconds, new_durations.get(test, seconds))
    durations = {**previous_durations, **new_durations}
    rows = {test: round(durations[test], 1) for test in sorted(durations)}
    return json.dumps(rows, indent=0) + "\n"
