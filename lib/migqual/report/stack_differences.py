"""Compare what different versions of libvirt and QEMU did in the same tests.

A stack is the versions of libvirt and QEMU at both hosts of a pair. The comparison covers verdicts,
messages of libvirt and QEMU, and results of migrations without migqual's guard (the check that
refuses unsafe migrations). The functions are pure.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from migqual.model.record import PairName, RunRecord, TestRecord
from migqual.model.verdict import Verdict, find_worst_verdict

COMPARED_FACTS = ("unguarded migration ", "missing parameters")
MAX_TEXT_LENGTH = 240
_CHANGING_PARTS = (
    (re.compile(r"mq-[0-9a-f]{6}-\d+-\d+"), "GUEST"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z? ?"), ""),
    (re.compile(r"bad blocks, the first: .*", re.DOTALL), "bad blocks"),
)


@dataclass(frozen=True)
class StackDifference:
    """A difference between the results of two or more stacks (versions of libvirt and QEMU).

    Attributes:
        subject: What differs. A test id means the verdict of the test. ``message: KIND`` means a
            message of libvirt or QEMU. ``command NAME at the ROLE`` means the answer to a command.
            Other subjects are names of recorded facts, e.g. ``missing parameters``.
        texts: The verdict, message, answer or fact of each stack, by stack. A stack without a
            result has no entry.
    """

    subject: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class StackComparison:
    """All differences between the results of several stacks (versions of libvirt and QEMU).

    Attributes:
        stacks: Versions of libvirt and QEMU at source and destination, in the order of the runs.
        differences: The differences, sorted by subject. Empty if the runs have a single stack.
    """

    stacks: tuple[str, ...]
    differences: tuple[StackDifference, ...]


def compare_stacks(runs: Sequence[RunRecord], tests: Sequence[TestRecord]) -> StackComparison:
    """Compare the results of the stacks (versions of libvirt and QEMU) of all runs.

    Args:
        runs: The run records. The environment of a run contains the versions of the hosts.
        tests: The test records of all runs.

    Returns:
        The stacks, and all results that differ between at least two stacks.
    """
    texts: dict[str, dict[str, str]] = {}
    stacks: dict[str, None] = {}
    for run in runs:
        for pair in run.pairs:
            stack = describe_stack(run, pair)
            stacks[stack] = None
            for subject, text in _list_observations(run, pair, tests):
                texts.setdefault(subject, {}).setdefault(stack, text)
    differences = (StackDifference(subject, by_stack) for subject, by_stack in texts.items())
    return StackComparison(
        tuple(stacks),
        tuple(
            sorted(
                (row for row in differences if len(set(map(_normalize, row.texts.values()))) > 1),
                key=lambda row: row.subject,
            )
        ),
    )


def separate_stacks(
    runs: Sequence[RunRecord], tests: Sequence[TestRecord]
) -> tuple[tuple[RunRecord, ...], tuple[TestRecord, ...]]:
    """Give a pair a separate name for each stack, if the runs of the pair have several stacks.

    A stack is the versions of libvirt and QEMU at both hosts of a pair. A verdict must not mix the
    results of different versions.

    Args:
        runs: The run records. The environment of a run contains the versions of the hosts.
        tests: The test records of all runs.

    Returns:
        The runs and the tests, unchanged except for the names of pairs.
    """
    stacks = {(run.id, pair): describe_stack(run, pair) for run in runs for pair in run.pairs}
    stacks_by_pair: dict[PairName, set[str]] = {}
    for (_, pair), stack in stacks.items():
        stacks_by_pair.setdefault(pair, set()).add(stack)

    def name_pair(run_id: str, pair: PairName | None) -> PairName | None:
        if pair is None or len(stacks_by_pair.get(pair, ())) < 2:
            return pair
        return replace(pair, stack=stacks.get((run_id, pair), "not known"))

    return (
        tuple(
            replace(run, pairs=tuple(filter(None, (name_pair(run.id, one) for one in run.pairs))))
            for run in runs
        ),
        tuple(replace(test, pair=name_pair(test.run, test.pair)) for test in tests),
    )


def describe_stack(run: RunRecord, pair: PairName) -> str:
    """Describe the versions at the hosts of a pair, e.g. ``libvirt 9.0.0, QEMU 7.2.15``."""
    source, destination = (_describe_host(run, name) for name in (pair.source, pair.destination))
    return source if source == destination else f"{source} -> {destination}"


def _describe_host(run: RunRecord, name: str) -> str:
    facts = run.environment.get(f"host {name}")
    if not isinstance(facts, Mapping):
        return "not known"
    return f"libvirt {facts.get('libvirt', '?')}, QEMU {facts.get('qemu', '?')}"


def _list_observations(
    run: RunRecord, pair: PairName, tests: Sequence[TestRecord]
) -> Iterator[tuple[str, str]]:
    pair_tests = [test for test in tests if test.run == run.id and test.pair == pair]
    by_id: dict[str, list[TestRecord]] = {}
    for test in pair_tests:
        if test.verdict is not Verdict.NOT_RUN:
            by_id.setdefault(test.id, []).append(test)
    for test_id, records in by_id.items():
        verdict = find_worst_verdict(record.verdict for record in records)
        yield test_id, verdict.value
    for test in pair_tests:
        for message in test.stack_messages:
            yield f"message: {message.kind}", _clean(message.message)
        for command in test.commands:
            subject = f"command {command.command} at the {command.role}"
            yield subject, _clean(f"{command.answer}: {command.message}")
    for name, facts in run.environment.items():
        if name.startswith(COMPARED_FACTS) and _belongs_to_pair(name, pair):
            yield _remove_pair(name, pair), _clean(_describe_facts(facts))


def _belongs_to_pair(name: str, pair: PairName) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(pair.id)}(?![\w])", name) is not None


def _remove_pair(name: str, pair: PairName) -> str:
    return re.sub(rf"( |(?<=\[)){re.escape(pair.id)}-?", "", name).replace("[]", "")


def _describe_facts(facts: object) -> str:
    if not isinstance(facts, Mapping):
        return str(facts)
    if "result" in facts:
        return str(facts["result"])
    return "; ".join(
        f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in facts.items()
    )


def _clean(text: str) -> str:
    for pattern, replacement in _CHANGING_PARTS:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]} ..."


def _normalize(text: str) -> str:
    """Replace all numbers and long hexadecimal ids by ``N``, so that only words are compared."""
    return re.sub(r"[0-9a-f]{8,}|\d+", "N", text)
