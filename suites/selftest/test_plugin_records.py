"""What the record plugin makes of every way in which a test can end."""

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from migqual.model.verdict import Verdict
from migqual.report import publish
from suites.selftest.inner_session import Session, run_inner

pytestmark = pytest.mark.selftest

SUITE = '''
import enum
from fixtures.plugins.stash import EVIDENCE, MIGRATIONS, PAIR, VERDICT
from migqual.deadline import Deadline
from migqual.errors import *
from migqual.model.record import MigrationRecord, PairName

PAIRS = [PairName("a1", "b1"), PairName("a2", "b2")]
pytestmark = [
    pytest.mark.requirement("LM-CAP-01"),
    pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.id),
]

class Disk(enum.Enum):
    RAW = "raw"

@pytest.fixture
def lost_host():
    raise HostError("a1", "no route to host")

@pytest.fixture
def away_host():
    raise ConnectionLost("b1", "no answer", remedy="is it up?") from OSError("a trace")

@pytest.fixture
def asserts_in_setup():
    assert 1 == 2

@pytest.fixture
def lacks_feature():
    raise UnsupportedError("no multifd here")

@pytest.fixture
def audit():
    yield
    assert not ["/tmp/left-behind"], "residue"

@pytest.fixture
def lost_after():
    yield
    raise HostError("b1", "went away")

@pytest.mark.parametrize("disk", [Disk.RAW, object()], ids=["raw", "any"])
def test_passes(pair, disk, request):
    """It passes.

    Expected: it passes.
    """
    request.node.stash[MIGRATIONS].append(
        MigrationRecord({"disk": Disk.RAW}, "virsh migrate g1", {"gap_max_ms": 61.0}))
    request.node.stash[EVIDENCE].append(("samples.csv", "t,x\\n0,1\\n", "text/csv"))

def test_asserts(pair, request):
    request.node.stash[EVIDENCE].append(("log of a1", b"\\xff broken", "text/plain"))
    assert 1 == 2, "pages differ"
def test_says_fail(pair): pytest.fail("said so")
def test_no_error_seen(pair):
    with pytest.raises(ValueError): pass
def test_refused(pair): raise MigrationRefused("stack says no")
def test_migration_timed_out(pair): raise MigrationTimedOut("too slow")
def test_unsupported(pair): raise UnsupportedError("no zstd")
def test_unsupported_in_setup(pair, lacks_feature): pass
def test_guest_trouble(pair): raise GuestError("no agent")
def test_too_early(pair): raise InconclusiveError("over before the cut")
def test_timed_out(pair): raise TimedOut("agent: not within 4 s")
def test_other(pair): {}["x"]
def test_setup_trouble(pair, lost_host): pass
def test_host_is_away(pair, away_host): pass
def test_setup_asserts(pair, asserts_in_setup): pass
def test_residue(pair, audit): pass
def test_teardown_trouble(pair, lost_after): pass
def test_residue_after_pass_and_trouble(pair, audit, lost_after): pass
def test_trouble_then_residue(pair, audit): raise GuestError("no agent")
def test_residue_after_setup_trouble(pair, audit, lost_host): pass
def test_unsupported_then_residue(pair, audit): raise UnsupportedError("no zstd")
def test_group(pair): raise ExceptionGroup("two", [GuestError("x"), AssertionError("y")])
def test_skips(pair): pytest.skip("not today")
@pytest.mark.xfail
def test_expected_failure(pair): assert 0, "known"
@pytest.mark.xfail
def test_unexpected_pass(pair): pass
@pytest.mark.timeout(0.3)
def test_hangs(pair): Deadline(30).pause(30)

@pytest.fixture
def watches(request):
    yield
    assert request.node.stash[VERDICT].value == "fail"
def test_fixtures_see_the_verdict(pair, watches): assert 0, "seen"
'''

EXPECTED = {
    "passes[raw]": (Verdict.PASS, ""),
    "passes[any]": (Verdict.PASS, ""),
    "asserts": (Verdict.FAIL, "pages differ"),
    "says_fail": (Verdict.FAIL, "said so"),
    "no_error_seen": (Verdict.FAIL, "DID NOT RAISE"),
    "refused": (Verdict.FAIL, "MigrationRefused: stack says no"),
    "migration_timed_out": (Verdict.FAIL, "MigrationTimedOut: too slow"),
    "unsupported": (Verdict.UNSUPPORTED, "no zstd"),
    "unsupported_in_setup": (Verdict.UNSUPPORTED, "no multifd here"),
    "guest_trouble": (Verdict.INCONCLUSIVE, "call: GuestError: no agent"),
    "too_early": (Verdict.INCONCLUSIVE, "call: InconclusiveError: over before the cut"),
    "timed_out": (Verdict.INCONCLUSIVE, "call: TimedOut: agent"),
    "other": (Verdict.INCONCLUSIVE, "call: KeyError: 'x'"),
    "setup_trouble": (Verdict.INCONCLUSIVE, "setup: HostError: a1: no route to host"),
    "host_is_away": (Verdict.INCONCLUSIVE, "setup: ConnectionLost: b1: no answer"),
    "setup_asserts": (Verdict.INCONCLUSIVE, "setup: AssertionError"),
    "residue": (Verdict.FAIL, "residue"),
    "teardown_trouble": (Verdict.INCONCLUSIVE, "teardown: HostError: b1: went away"),
    "residue_after_pass_and_trouble": (Verdict.FAIL, "residue"),
    "trouble_then_residue": (Verdict.FAIL, "residue"),
    "residue_after_setup_trouble": (Verdict.INCONCLUSIVE, "setup: HostError"),
    "unsupported_then_residue": (Verdict.FAIL, "residue"),
    "group": (Verdict.FAIL, "y"),
    "skips": (Verdict.NOT_RUN, "skipped: not today"),
    "expected_failure": (Verdict.FAIL, "known"),
    "unexpected_pass": (Verdict.FAIL, "XPASS"),
    "hangs": (Verdict.INCONCLUSIVE, "call: Timeout (>0.3s)"),
    "fixtures_see_the_verdict": (Verdict.FAIL, "seen"),
}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_inner(tmp_path_factory.mktemp("serial"), SUITE, ["-rs"])


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Session:
    suite = SUITE.replace(
        "ids=lambda p: p.id)", "ids=lambda p: p.id), pytest.mark.xdist_group('g')"
    )
    return run_inner(tmp_path_factory.mktemp("parallel"), suite, ["-n", "2", "--dist", "loadgroup"])


@pytest.mark.parametrize("where", ["a1-b1", "a2-b2"])
@pytest.mark.parametrize("name", EXPECTED)
def test_how_a_test_ends_decides_its_verdict(serial: Session, name: str, where: str) -> None:
    """A host's fault fails; a broken lab never does, and never passes either."""
    found = serial.tests[f"test_{name}@{where}"]
    verdict, reason = EXPECTED[name]
    assert found.verdict is verdict
    assert reason in found.reason


def test_every_test_has_exactly_one_record(serial: Session) -> None:
    """None too many: a pair that becomes known must not leave the planned record behind."""
    assert len(serial.tests) == 2 * len(EXPECTED)
    assert serial.run.finished


def test_a_missing_feature_shows_as_a_skip_with_its_reason(serial: Session) -> None:
    """In pytest's own words, visible."""
    assert re.search(r"SKIPPED.*: unsupported: no zstd", serial.output)
    assert re.search(r"SKIPPED.*: unsupported: no multifd here", serial.output)


def test_trouble_stays_an_error_or_a_failure_to_pytest(serial: Session) -> None:
    """A broken lab must never look green."""
    assert serial.code == 1
    # Passed but for their tear-down, which is an error: three of the five on each pair.
    expected = "28 failed, 10 passed, 8 skipped, 2 xfailed, 20 errors"
    assert expected in serial.output.splitlines()[-1]


def test_a_host_that_is_away_is_told_without_a_trace(serial: Session) -> None:
    """Its words and the remedy, and not how Python came to them."""
    assert "setup: b1: no answer\n  remedy: is it up?" in serial.output
    assert "a trace" not in serial.output


def test_the_record_says_all_that_the_report_needs(serial: Session) -> None:
    """Words, phases, parameters without addresses, the migration as plain data."""
    test = serial.tests["test_passes[any]@a1-b1"]
    assert (test.title, test.doc) == ("It passes.", "Expected: it passes.")
    assert test.parameters == {"disk": "object"}
    assert test.migrations[0].plan == {"disk": "raw"}
    assert None not in {test.phases.setup, test.phases.call, test.phases.teardown}
    assert test.seconds == pytest.approx(test.phases.seconds, abs=1e-3)
    assert test.run == serial.run.id


def test_evidence_is_kept_where_something_went_wrong(serial: Session) -> None:
    """And only there: hundreds of passes would bury it."""
    (kept,) = serial.tests["test_asserts@a1-b1"].attachments
    assert (serial.out / kept.path).read_bytes() == b"\xff broken"
    assert not serial.tests["test_passes[raw]@a1-b1"].attachments


def test_parallel_and_serial_give_the_same_verdict(serial: Session, parallel: Session) -> None:
    """Whatever the number of workers, times aside."""
    assert parallel.code == serial.code
    assert timeless(parallel.verdict) == timeless(serial.verdict)


def test_the_terminal_shows_the_verdict(serial: Session, parallel: Session) -> None:
    """Also with workers, whose own output is lost."""
    for session in (serial, parallel):
        assert "verdict: NOT QUALIFIED: 0 of 2 pairs qualify under profile inner" in session.output
        assert f"report:  {session.out}/index.html" in session.output


def test_junit_names_pair_and_requirements(serial: Session) -> None:
    """For the CI systems that read nothing else."""
    cases = etree.parse(serial.out / "junit.xml").getroot().iter("testcase")
    (case,) = (case for case in cases if case.get("name") == "test_asserts[a1-b1]")
    found = [(each.get("name"), each.get("value")) for each in case.iter("property")]
    assert found == [("requirement", "LM-CAP-01"), ("pair", "a1-b1")]


def timeless(data: Any) -> Any:  # noqa: ANN401 - JSON
    """The same without what differs from run to run."""
    if isinstance(data, dict):
        volatile = {"seconds", "started", "finished"}
        kept = {key: timeless(value) for key, value in data.items() if key not in volatile}
        return kept | {"run": kept["run"] | {"id": "any"}} if "run" in kept else kept
    if isinstance(data, list):
        return [timeless(item) for item in data]
    return data


def test_a_crashed_worker_takes_no_test_with_it(tmp_path: Path) -> None:
    """The test that killed it is inconclusive; those that nobody ran are not-run."""
    suite = """
import os
pytestmark = pytest.mark.requirement("LM-CAP-01")
def test_before(): pass
def test_kills(): os._exit(9)
def test_after(): pass
"""
    session = run_inner(tmp_path, suite, ["-n", "1", "--max-worker-restart=0"])
    tests = session.tests
    assert session.code != 0
    assert tests["test_before"].verdict is Verdict.PASS
    assert tests["test_kills"].verdict is Verdict.INCONCLUSIVE
    assert "never ended" in tests["test_kills"].reason
    assert tests["test_after"].verdict is Verdict.NOT_RUN
    assert not any(pair["qualified"] for pair in session.verdict["pairs"])


def test_a_session_that_is_killed_leaves_an_unfinished_run(tmp_path: Path) -> None:
    """Even when all demanded requirements had passed by then."""
    suite = """
import os
@pytest.mark.requirement("LM-CAP-01")
def test_passes(): pass
@pytest.mark.requirement("LM-TLS-01")
def test_kills(): os._exit(9)
"""
    session = run_inner(tmp_path, suite)
    assert session.code == 9
    assert session.run.finished is None
    assert session.tests["test_passes"].verdict is Verdict.PASS
    assert session.tests["test_kills"].verdict is Verdict.INCONCLUSIVE


def test_a_leased_pair_replaces_the_unknown_one(tmp_path: Path) -> None:
    """The pair may come to light in set-up only."""
    suite = """
from fixtures.plugins.stash import PAIR
from migqual.model.record import PairName
@pytest.fixture
def leased(request): request.node.stash[PAIR] = PairName("a2", "b2")
@pytest.mark.requirement("LM-CAP-01")
def test_it(leased): pass
"""
    assert list(run_inner(tmp_path, suite).tests) == ["test_it@a2-b2"]


def test_a_new_run_clears_the_old_one(tmp_path: Path) -> None:
    """No old verdict can pass for a new one; a session without recorded tests clears nothing."""
    marked = '@pytest.mark.requirement("LM-CAP-01")\ndef test_{}(): pass\n'
    run_inner(tmp_path, marked.format("old"))
    first = run_inner(tmp_path, marked.format("new")).run.id
    unrecorded = "@pytest.mark.selftest\ndef test_other(): pass\n"
    after = run_inner(tmp_path, unrecorded)
    run_inner(tmp_path, marked.format("newer"), ["--collect-only"])
    assert list(after.tests) == ["test_new"]
    assert after.run.id == first


@pytest.mark.parametrize("options", [[], ["-n", "1"]], ids=["serial", "worker"])
def test_two_sessions_do_not_share_a_folder(tmp_path: Path, options: list[str]) -> None:
    """The second one ends before it has touched the records of the first, and says why."""
    suite = """
@pytest.mark.requirement("LM-CAP-01")
def test_passes(): pass
"""
    first = run_inner(tmp_path, suite)
    written = {file: file.read_bytes() for file in (first.out / "records").iterdir()}

    with publish.claim(first.out):
        second = run_inner(tmp_path, suite, options)

    assert second.code == pytest.ExitCode.USAGE_ERROR
    assert "another run writes there" in second.output
    assert "Traceback" not in second.output
    assert {file: file.read_bytes() for file in (first.out / "records").iterdir()} == written
    assert not list(first.out.glob(".plan*"))
