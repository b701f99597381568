"""The rules: tests -> requirements -> pairs. Pure.

- A requirement's verdict on a pair is the worst of its tests there; without a test, `not-run`. An
  extra test that is `unsupported` does not count where others do.
- A pair qualifies when every requirement that the profile demands (`required`, and every one that
  the profile does not name) passes, the profile demands something, a test ran there, and the run
  came to its end.
- Optional and absent requirements never decide. One that fails, or whose experiment did not
  happen, is a reservation: the host offers the thing, and it was not seen to work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from migqual.errors import UsageError
from migqual.model.record import Demand, PairName, RequirementName, RunRecord, TestRecord
from migqual.model.verdict import Verdict, worst

UNKNOWN = RequirementName(title="not in this run's table of requirements", chapter="Unknown")


@dataclass(frozen=True)
class RequirementResult:
    """What became of one requirement on one pair."""

    id: str
    pair: PairName
    name: RequirementName
    demand: Demand
    tests: tuple[TestRecord, ...]

    @property
    def verdict(self) -> Verdict:
        return worst(test.verdict for test in self.deciding)

    @property
    def deciding(self) -> tuple[TestRecord, ...]:
        """The tests that the verdict is the worst of: all but extras that the host lacks."""
        found = (t for t in self.tests if not (t.extra and t.verdict is Verdict.UNSUPPORTED))
        return tuple(found) or self.tests

    @property
    def reason(self) -> str:
        """The words of the worst test; what is missing when there is none."""
        if not self.tests:
            return "no test of it ran"
        return max(self.deciding, key=lambda test: test.verdict.badness).reason

    @property
    def missed(self) -> bool:
        """Demanded, and not passed."""
        return self.demand is Demand.REQUIRED and self.verdict is not Verdict.PASS

    @property
    def reserved(self) -> bool:
        """Not demanded, tried, and gone wrong."""
        bad = self.verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE}
        return self.demand is not Demand.REQUIRED and bad


@dataclass(frozen=True)
class PairResult:
    """What became of one pair. `obstacles` are reasons beyond single requirements."""

    pair: PairName
    requirements: tuple[RequirementResult, ...]
    obstacles: tuple[str, ...]

    @property
    def missed(self) -> tuple[RequirementResult, ...]:
        return tuple(result for result in self.requirements if result.missed)

    @property
    def reservations(self) -> tuple[RequirementResult, ...]:
        return tuple(result for result in self.requirements if result.reserved)

    @property
    def qualified(self) -> bool:
        return not self.obstacles and not self.missed


def judge(run: RunRecord, records: Sequence[TestRecord]) -> tuple[PairResult, ...]:
    """One result per pair of the run and of the records, in the run's order."""
    return tuple(_pair(run, pair, records) for pair in _pairs(run, records))


def qualifies(results: Sequence[PairResult]) -> bool:
    """Every pair, and at least one."""
    return bool(results) and all(result.qualified for result in results)


def verdict(run: RunRecord, records: Sequence[TestRecord]) -> dict[str, Any]:
    """The contents of `verdict.json`, format 1."""
    return {
        "format": 1,
        "run": {
            "id": run.id,
            "started": run.started,
            "finished": run.finished,
            "profile": run.profile.name,
            "tier": run.tier.value,
            "acceleration": run.acceleration,
            "version": run.version,
        },
        "pairs": [_pair_json(result) for result in judge(run, records)],
        "migrations": _migrations_json(records),
    }


def merge(runs: Sequence[RunRecord]) -> RunRecord:
    """Many runs as one, judged by their common profile; unfinished if any of them is.

    Raises `UsageError` when there is none, or when profile, tier or requirements differ: one
    verdict cannot rest on two measures.
    """
    if not runs:
        raise UsageError(
            "no record of a run", remedy="name the folder that `make qualify` wrote (reports/out)"
        )
    first = runs[0]
    for run in runs[1:]:
        _check_same_measure(first, run)
    finished = [run.finished for run in runs if run.finished is not None]
    return replace(
        first,
        id="+".join(run.id for run in runs),
        started=min(run.started for run in runs),
        finished=max(finished) if len(finished) == len(runs) else None,
        acceleration=_joined(run.acceleration for run in runs),
        version=_joined(run.version for run in runs),
        pairs=tuple(dict.fromkeys(pair for run in runs for pair in run.pairs)),
        environment=_environment(runs),
    )


def _check_same_measure(first: RunRecord, other: RunRecord) -> None:
    for what, one, two in (
        ("profile", first.profile, other.profile),
        ("tier", first.tier, other.tier),
        ("requirements", first.requirements, other.requirements),
    ):
        if one != two:
            raise UsageError(
                f"runs {first.id} and {other.id} differ in {what}",
                remedy="report on them one by one",
            )


def _environment(runs: Sequence[RunRecord]) -> Mapping[str, Any]:
    """Provenance of all runs; where two runs say different things of one name, both are kept."""
    merged: dict[str, Any] = {}
    for run in runs:
        for name, facts in run.environment.items():
            differs = name in merged and merged[name] != facts
            merged[f"{name} ({run.id})" if differs else name] = facts
    return merged


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _pairs(run: RunRecord, records: Sequence[TestRecord]) -> list[PairName]:
    recorded = {record.pair for record in records if record.pair} - set(run.pairs)
    return [*run.pairs, *sorted(recorded, key=lambda pair: pair.id)]


def _pair(run: RunRecord, pair: PairName, records: Sequence[TestRecord]) -> PairResult:
    mine = [record for record in records if record.pair in {pair, None}]
    named = dict.fromkeys(
        [
            *run.requirements,
            *run.profile.demands,
            *(id_ for test in mine for id_ in test.requirements),
        ]
    )
    results = tuple(_requirement(run, pair, id_, mine) for id_ in named)
    return PairResult(pair, results, _obstacles(run, mine, results))


def _requirement(
    run: RunRecord, pair: PairName, id_: str, records: Iterable[TestRecord]
) -> RequirementResult:
    tests = [record for record in records if id_ in record.requirements]
    return RequirementResult(
        id=id_,
        pair=pair,
        name=run.requirements.get(id_, UNKNOWN),
        demand=run.profile.demand(id_),
        tests=tuple(sorted(tests, key=lambda test: (test.id, test.run))),
    )


def _obstacles(
    run: RunRecord, records: Sequence[TestRecord], results: Sequence[RequirementResult]
) -> tuple[str, ...]:
    obstacles = []
    if run.finished is None:
        obstacles.append("the run never came to its end")
    if all(record.verdict is Verdict.NOT_RUN for record in records):
        obstacles.append("no test ran on this pair")
    if all(result.demand is not Demand.REQUIRED for result in results):
        obstacles.append("the profile demands nothing")
    return tuple(obstacles)


def _pair_json(result: PairResult) -> dict[str, Any]:
    return {
        "source": result.pair.source,
        "destination": result.pair.destination,
        "qualified": result.qualified,
        "requirements": {
            requirement.id: {
                "verdict": requirement.verdict.value,
                "tests": [_test_json(test) for test in requirement.tests],
            }
            for requirement in result.requirements
        },
    }


def _test_json(test: TestRecord) -> dict[str, Any]:
    return {
        "id": test.id,
        "verdict": test.verdict.value,
        "reason": test.reason,
        "seconds": round(test.seconds, 3),
    }


def _migrations_json(records: Sequence[TestRecord]) -> list[dict[str, Any]]:
    ordered = sorted(
        records, key=lambda test: (test.id, test.pair.id if test.pair else "", test.run)
    )
    return [
        {
            "test": test.id,
            "pair": test.pair.id if test.pair else None,
            "plan": migration.plan,
            "virsh": migration.virsh,
            "metrics": migration.metrics,
        }
        for test in ordered
        for migration in test.migrations
    ]
