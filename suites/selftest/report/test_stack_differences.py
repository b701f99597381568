"""The comparison of what different stacks did in the same tests."""

from dataclasses import replace

import pytest

from migqual.model.record import (
    PairName,
    ProfileSnapshot,
    RequirementSummary,
    RunRecord,
    RunTier,
    TestRecord,
)
from migqual.model.stack_message import StackMessage
from migqual.model.verdict import Verdict
from migqual.report.html_report import render_html_report
from migqual.report.merged_run import merge_runs
from migqual.report.qualification import judge_pairs
from migqual.report.stack_differences import compare_stacks, separate_stacks

pytestmark = pytest.mark.selftest

PAIR = PairName("a1", "b1")
OLD, NEW = "libvirt 7.0.0, QEMU 5.2.0", "libvirt 12.8.0, QEMU 11.1.0"


def make_run(run_id: str, stack: str, **facts: object) -> RunRecord:
    libvirt, qemu = (part.split()[1] for part in stack.split(", "))
    hosts = {f"host {name}": {"libvirt": libvirt, "qemu": qemu} for name in ("a1", "b1")}
    return RunRecord(
        id=run_id,
        started="2026-01-02T03:04:05Z",
        finished="2026-01-02T03:05:05Z",
        profile=ProfileSnapshot("lab"),
        tier=RunTier.LAB,
        version="1",
        pairs=(PAIR,),
        requirements={},
        environment={**hosts, **facts},
    )


def make_test(run_id: str, verdict: Verdict, message: str = "") -> TestRecord:
    record = TestRecord(run_id, "t", "title", "", "Caps", (), PAIR, verdict)
    messages = (StackMessage("no-space", message, is_known=True),) if message else ()
    return replace(record, stack_messages=messages)


def test_only_differences_are_listed() -> None:
    """
    The table of stack differences lists no verdict or message that is the same on all stacks.

    A stack is the versions of libvirt and QEMU at both hosts of a pair. Messages that differ only
    in guest names and numbers are the same.
    """
    runs = [make_run("r1", OLD), make_run("r2", NEW)]
    tests = [
        make_test("r1", Verdict.PASS, "mq-0a1b2c-0-1: no space left, 12 bytes"),
        make_test("r2", Verdict.FAIL, "mq-ffffff-1-7: no space left, 34 bytes"),
    ]

    comparison = compare_stacks(runs, tests)

    assert comparison.stacks == (OLD, NEW)
    assert [row.subject for row in comparison.differences] == ["t"]
    assert comparison.differences[0].texts == {OLD: "pass", NEW: "fail"}


def test_other_words_of_a_refusal_are_a_difference() -> None:
    """If two stacks (libvirt and QEMU) refuse with different messages, a row shows both."""
    runs = [make_run("r1", OLD), make_run("r2", NEW)]
    tests = [
        make_test("r1", Verdict.PASS, "no space left on device"),
        make_test("r2", Verdict.PASS, "disk quota exceeded"),
    ]

    (row,) = compare_stacks(runs, tests).differences

    assert row.subject == "message: no-space"
    assert row.texts == {OLD: "no space left on device", NEW: "disk quota exceeded"}


def test_unguarded_migrations_are_compared_without_the_pair() -> None:
    """The row of an unguarded migration shows the result on each stack, but not the pair.

    An unguarded migration runs without migqual's guard, which refuses unsafe migrations. A stack is
    the versions of libvirt and QEMU at both hosts of a pair.
    """
    name = "unguarded migration test_x[a1-b1-one-less]"
    runs = [
        make_run("r1", OLD, **{name: {"result": "migrated"}}),
        make_run("r2", NEW, **{name: {"result": "MigrationRefused: no"}}),
    ]

    (row,) = compare_stacks(runs, []).differences

    assert row.subject == "unguarded migration test_x[one-less]"
    assert row.texts == {OLD: "migrated", NEW: "MigrationRefused: no"}


def test_pair_with_two_stacks_has_a_verdict_for_each_stack() -> None:
    """
    Two runs of the same pair with different versions of libvirt and QEMU are judged separately.

    Expected: the stack that failed does not qualify; the other stack qualifies.
    """
    requirements = {"LM-CAP-01": RequirementSummary("title", "Caps")}
    runs = [
        replace(make_run(*one), requirements=requirements) for one in (("r1", OLD), ("r2", NEW))
    ]
    tests = [
        replace(make_test("r1", Verdict.FAIL), requirements=("LM-CAP-01",)),
        replace(make_test("r2", Verdict.PASS), requirements=("LM-CAP-01",)),
    ]

    separate_runs, separate_tests = separate_stacks(runs, tests)
    results = judge_pairs(merge_runs(separate_runs), separate_tests)

    assert {result.pair.stack: result.is_qualified for result in results} == {OLD: False, NEW: True}
    assert {result.pair.id for result in results} == {f"a1-b1 ({OLD})", f"a1-b1 ({NEW})"}


def test_pair_with_one_stack_keeps_the_name() -> None:
    """A pair with the same stack (versions of libvirt and QEMU) in two runs gets a single verdict.

    The name of the pair stays the same. migqual adds the stack to the name only if a pair has
    several stacks.
    """
    runs = [make_run("r1", OLD), make_run("r2", OLD)]
    tests = [make_test("r1", Verdict.PASS), make_test("r2", Verdict.PASS)]

    assert separate_stacks(runs, tests) == (tuple(runs), tuple(tests))


def test_table_is_in_the_report_of_several_stacks_only() -> None:
    """A report has the table of stack differences only if the runs have several stacks.

    A stack is the versions of libvirt and QEMU at both hosts of a pair.
    """
    old_run, new_run = make_run("r1", OLD), make_run("r2", NEW)
    tests = [make_test("r1", Verdict.PASS), make_test("r2", Verdict.UNSUPPORTED)]

    both = render_html_report(old_run, tests, compare_stacks([old_run, new_run], tests))
    single = render_html_report(old_run, tests[:1], compare_stacks([old_run], tests[:1]))

    assert "Stack differences" in both
    assert NEW in both
    assert "Stack differences" not in single
