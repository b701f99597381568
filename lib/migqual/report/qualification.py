"""Judge pairs of hosts by the verdicts of their tests. The functions are pure.

- The verdict of a requirement on a pair is the worst verdict of its tests on this pair, or
  `not-run` without a test. An `unsupported` test with the marker `beyond_requirement` counts only
  if the requirement has no other tests.
- A test is `withheld` if its fault could harm other users of the host. A withheld test does not
  count if another test of the requirement passed.
- A requirement is demanded if the profile says `required` or does not name the requirement.
- A pair qualifies if all demanded requirements pass. In addition, the profile must demand at
  least one requirement, at least one test must have run on the pair, and the run must have
  ended normally. The guests must have used the acceleration that the inventory expects.
- An optional or absent requirement never prevents the qualification. If its verdict is `fail`
  or `inconclusive`, the report lists the requirement as a reservation: the host offers the
  feature, but a test did not show that the feature works.
- If a requirement passed, but libvirt or QEMU gave an unknown message, the report also lists the
  requirement as a reservation. `fixtures/stack_messages.yml` lists the known messages.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migqual.model.record import Demand, PairName, RequirementSummary, RunRecord, TestRecord
from migqual.model.run_result import RunResult
from migqual.model.stack_message import StackMessage
from migqual.model.verdict import Verdict, find_worst_verdict

_UNDECIDED_VERDICTS = frozenset({Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.WITHHELD})
UNKNOWN_REQUIREMENT = RequirementSummary(
    title="the requirement is not in the requirements table of this run", chapter="Unknown"
)


@dataclass(frozen=True)
class RequirementResult:
    """The result of a requirement on a pair."""

    id: str
    pair: PairName
    summary: RequirementSummary
    demand: Demand
    tests: tuple[TestRecord, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict in `deciding_tests`, or `not-run` if no test ran."""
        return find_worst_verdict(test.verdict for test in self.deciding_tests)

    @property
    def deciding_tests(self) -> tuple[TestRecord, ...]:
        """Return the tests that decide the verdict of the requirement.

        A `withheld` test does not count if another test passed. An `unsupported` test with the
        marker `beyond_requirement` counts only if the requirement has no other tests.
        """
        counted_tests = [
            test
            for test in self.tests
            if not (test.beyond_requirement and test.verdict is Verdict.UNSUPPORTED)
        ]
        if any(test.verdict is Verdict.PASS for test in counted_tests):
            counted_tests = [test for test in counted_tests if test.verdict is not Verdict.WITHHELD]
        return tuple(counted_tests) or self.tests

    @property
    def reason(self) -> str:
        """Return the reason of the test with the worst verdict, or state that no test ran."""
        if not self.tests:
            return "no test of this requirement ran"
        return max(self.deciding_tests, key=lambda test: test.verdict.rank).reason

    @property
    def is_unmet(self) -> bool:
        """Return whether the requirement is demanded and did not pass."""
        return self.demand is Demand.REQUIRED and self.verdict is not Verdict.PASS

    @property
    def is_reservation(self) -> bool:
        """Return whether the report lists the requirement as a reservation.

        The pair can qualify with a reservation. An optional or absent requirement is a reservation
        if the verdict is `fail` or `inconclusive`. A requirement with the verdict `pass` is a
        reservation if libvirt or QEMU gave an unknown message. `fixtures/stack_messages.yml` lists
        the known messages.
        """
        has_problem = self.verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE}
        if self.demand is not Demand.REQUIRED and has_problem:
            return True
        return self.verdict is Verdict.PASS and bool(self.unknown_messages)

    @property
    def unknown_messages(self) -> tuple[StackMessage, ...]:
        """Return the messages of libvirt and QEMU that are not in `fixtures/stack_messages.yml`."""
        return tuple(message for test in self.tests for message in test.unknown_messages)

    @property
    def reservation(self) -> str:
        """Return the text of the reservation, if `is_reservation` is True.

        If the verdict is `pass`, the text lists the unknown messages of libvirt and QEMU. Otherwise
        the text is the verdict, for example `fail`.
        """
        if self.verdict is Verdict.PASS:
            return "; ".join(
                f"unknown message of libvirt or QEMU for {message.kind}: {message.message}"
                for message in self.unknown_messages
            )
        return self.verdict.value


@dataclass(frozen=True)
class PairResult:
    """The results of all requirements on a pair. The qualification follows from the results.

    Attributes:
        contradictions: Reasons why the whole pair does not qualify, for example an unexpected
            acceleration.
        missing_results: Reasons why the results of the pair are incomplete, for example an
            unfinished run.
    """

    pair: PairName
    requirements: tuple[RequirementResult, ...]
    contradictions: tuple[str, ...]
    missing_results: tuple[str, ...]

    @property
    def blocking_reasons(self) -> tuple[str, ...]:
        """Return all reasons why the whole pair cannot qualify, for example an unfinished run."""
        return self.missing_results + self.contradictions

    @property
    def unmet_requirements(self) -> tuple[RequirementResult, ...]:
        """Return the demanded requirements that did not pass."""
        return tuple(result for result in self.requirements if result.is_unmet)

    @property
    def reservations(self) -> tuple[RequirementResult, ...]:
        """Return the requirements that are reservations, see `RequirementResult.is_reservation`."""
        return tuple(result for result in self.requirements if result.is_reservation)

    @property
    def is_qualified(self) -> bool:
        """Return whether the pair has neither a blocking reason nor an unmet requirement."""
        return not self.blocking_reasons and not self.unmet_requirements

    @property
    def result(self) -> RunResult:
        """Return whether the pair is qualified, is not qualified, or could not be judged."""
        if self.is_qualified:
            return RunResult.QUALIFIED
        is_decided = self.contradictions or any(
            result.verdict not in _UNDECIDED_VERDICTS for result in self.unmet_requirements
        )
        return RunResult.NOT_QUALIFIED if is_decided else RunResult.INCONCLUSIVE


def judge_pairs(run: RunRecord, records: Sequence[TestRecord]) -> tuple[PairResult, ...]:
    """Judge each pair in the run record, and then each pair that is only in the test records."""
    return tuple(_judge_pair(run, pair, records) for pair in _list_pairs(run, records))


def judge_run(results: Sequence[PairResult]) -> RunResult:
    """Judge a run by the results of its pairs.

    If at least one pair is not qualified, the run is not qualified. Otherwise, if at least one pair
    is inconclusive, the run is inconclusive. If all pairs are qualified, the run is qualified. A
    run without pairs is inconclusive.
    """
    pair_results = {result.result for result in results}
    if RunResult.NOT_QUALIFIED in pair_results:
        return RunResult.NOT_QUALIFIED
    return RunResult.QUALIFIED if pair_results == {RunResult.QUALIFIED} else RunResult.INCONCLUSIVE


def build_verdict_json(run: RunRecord, records: Sequence[TestRecord]) -> dict[str, Any]:
    """Build the contents of `verdict.json`, format 1."""
    pair_results = judge_pairs(run, records)
    result = judge_run(pair_results)
    return {
        "format": 1,
        "result": result.value,
        "exit_code": result.exit_code,
        "run": {
            "id": run.id,
            "started": run.started,
            "finished": run.finished,
            "profile": run.profile.name,
            "tier": run.tier.value,
            "acceleration": run.observed_acceleration,
            "version": run.version,
        },
        "pairs": [_build_pair_json(pair_result) for pair_result in pair_results],
        "migrations": _build_migrations_json(records),
    }


def _list_pairs(run: RunRecord, records: Sequence[TestRecord]) -> list[PairName]:
    recorded = {record.pair for record in records if record.pair} - set(run.pairs)
    return [*run.pairs, *sorted(recorded, key=lambda pair: pair.id)]


def _judge_pair(run: RunRecord, pair: PairName, records: Sequence[TestRecord]) -> PairResult:
    pair_records = [record for record in records if record.pair in {pair, None}]
    requirement_ids = dict.fromkeys(
        [
            *run.requirements,
            *run.profile.demands,
            *(id_ for test in pair_records for id_ in test.requirements),
        ]
    )
    results = tuple(_judge_requirement(run, pair, id_, pair_records) for id_ in requirement_ids)
    return PairResult(
        pair,
        results,
        contradictions=tuple(_list_contradictions(run, results)),
        missing_results=tuple(_list_missing_results(run, pair_records)),
    )


def _judge_requirement(
    run: RunRecord, pair: PairName, requirement_id: str, records: Iterable[TestRecord]
) -> RequirementResult:
    tests = [record for record in records if requirement_id in record.requirements]
    return RequirementResult(
        id=requirement_id,
        pair=pair,
        summary=run.requirements.get(requirement_id, UNKNOWN_REQUIREMENT),
        demand=run.profile.get_demand(requirement_id),
        tests=tuple(sorted(tests, key=lambda test: (test.id, test.run))),
    )


def _list_missing_results(run: RunRecord, records: Sequence[TestRecord]) -> Iterator[str]:
    if run.finished is None:
        yield "the run did not finish"
    if all(record.verdict is Verdict.NOT_RUN for record in records):
        yield "no test ran on this pair"
    if missing := find_left_out_tests(run, records):
        yield (
            f"a part of the suites does not qualify a pair: {len(missing)} tests were left out, "
            f"for example {missing[0]}"
        )


def find_left_out_tests(run: RunRecord, records: Iterable[TestRecord]) -> list[str]:
    """Find the tests that a run left out (for example with `-k`) and that are not in `records`.

    Args:
        run: The record of the run, or of the merged runs.
        records: The records of a pair, from all runs.
    """
    recorded_ids = {record.id for record in records}
    recorded_ids |= {id_.partition("[")[0] for id_ in recorded_ids}
    return [test_id for test_id in run.left_out if test_id not in recorded_ids]


def _list_contradictions(run: RunRecord, results: Sequence[RequirementResult]) -> Iterator[str]:
    expected = run.expected_acceleration
    if expected and run.observed_accelerations != (expected,):
        yield f"the inventory expects {expected}, the guests used {run.observed_acceleration}"
    if all(result.demand is not Demand.REQUIRED for result in results):
        yield "the profile demands no requirement"


def _build_pair_json(result: PairResult) -> dict[str, Any]:
    return {
        "pair": result.pair.id,
        "source": result.pair.source,
        "destination": result.pair.destination,
        "qualified": result.is_qualified,
        "result": result.result.value,
        "requirements": {
            requirement.id: {
                "verdict": requirement.verdict.value,
                "tests": [_build_test_json(test) for test in requirement.tests],
            }
            for requirement in result.requirements
        },
    }


def _build_test_json(test: TestRecord) -> dict[str, Any]:
    return {
        "id": test.id,
        "verdict": test.verdict.value,
        "reason": test.reason,
        "seconds": round(test.seconds, 3),
    }


def _build_migrations_json(records: Sequence[TestRecord]) -> list[dict[str, Any]]:
    sorted_records = sorted(
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
        for test in sorted_records
        for migration in test.migrations
    ]
