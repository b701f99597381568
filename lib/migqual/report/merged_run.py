"""Merge the records of several runs to the record of one run. No side effects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from migqual.errors import UsageError
from migqual.model.record import RunRecord


def merge_runs(runs: Sequence[RunRecord]) -> RunRecord:
    """Merge the records of several runs to the record of one run.

    The merged run is unfinished if any run is unfinished.

    Raises:
        UsageError: `runs` is empty, or the runs differ in profile, tier or requirements. Such
            runs follow different rules, so a common verdict is not possible.
    """
    if not runs:
        raise UsageError(
            "the given folders contain no record of a run",
            remedy="give the output folder of a run, for example reports/out",
        )
    first_run = runs[0]
    for run in runs[1:]:
        _check_comparable_runs(first_run, run)
    finished = [run.finished for run in runs if run.finished is not None]
    return replace(
        first_run,
        id="+".join(run.id for run in runs),
        started=min(run.started for run in runs),
        finished=max(finished) if len(finished) == len(runs) else None,
        expected_acceleration=_format_unique_values(
            run.expected_acceleration for run in runs if run.expected_acceleration
        ),
        version=_format_unique_values(run.version for run in runs),
        pairs=tuple(dict.fromkeys(pair for run in runs for pair in run.pairs)),
        environment=_merge_environments(runs),
        left_out=tuple(dict.fromkeys(test_id for run in runs for test_id in run.left_out)),
    )


def _check_comparable_runs(first_run: RunRecord, second_run: RunRecord) -> None:
    for field_name, first_value, second_value in (
        ("profile", first_run.profile, second_run.profile),
        ("tier", first_run.tier, second_run.tier),
        ("requirements", first_run.requirements, second_run.requirements),
    ):
        if first_value != second_value:
            raise UsageError(
                f"the runs {first_run.id} and {second_run.id} differ in the {field_name}, so one "
                "report cannot judge both runs",
                remedy="run `migqual report` for each run separately",
            )


def _merge_environments(runs: Sequence[RunRecord]) -> Mapping[str, Any]:
    """Merge the facts about the environments of all runs.

    If two runs have different facts with the same name, the result contains both facts. The name
    of the later fact gets the run id as a suffix.
    """
    merged: dict[str, Any] = {}
    for run in runs:
        for name, facts in run.environment.items():
            has_conflict = name in merged and merged[name] != facts
            merged[f"{name} ({run.id})" if has_conflict else name] = facts
    return merged


def _format_unique_values(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
