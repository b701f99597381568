"""The record plugin writes the right verdict for every outcome of a test."""

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from migqual.model.verdict import Verdict
from suites.selftest.support.inner_session import InnerSession, run_inner_session

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
def unreachable_host():
    raise ConnectionLost("b1", "no answer", remedy="is it up?") from OSError("a trace")

@pytest.fixture
def asserts_in_setup():
    assert 1 == 2

@pytest.fixture
def unsupported_feature():
    raise UnsupportedError("no multifd here")

@pytest.fixture
def leftover_check():
    yield
    assert not ["/tmp/left-behind"], "leftovers"

@pytest.fixture
def host_error_in_teardown():
    yield
    raise HostError("b1", "went away")

@pytest.mark.parametrize("disk", [Disk.RAW, object()], ids=["raw", "any"])
def test_passes(pair, disk, request):
    """
    It passes, and its title has
    two lines.

    Expected: it passes.
    """
    request.node.stash[MIGRATIONS].append(
        MigrationRecord({"disk": Disk.RAW}, "virsh migrate g1", {"gap_max_ms": 61.0}))
    request.node.stash[EVIDENCE].append(("samples.csv", "t,x\\n0,1\\n", "text/csv"))

def test_asserts(pair, request):
    request.node.stash[EVIDENCE].append(("log of a1", b"\\xff broken", "text/plain"))
    assert 1 == 2, "pages differ"
def test_pytest_fail(pair): pytest.fail("said so")
def test_expected_error_not_raised(pair):
    with pytest.raises(ValueError): pass
def test_refused(pair): raise MigrationRefused("stack says no")
def test_migration_timed_out(pair): raise MigrationTimedOut("too slow")
def test_unsupported(pair): raise UnsupportedError("no zstd")
def test_withheld(pair): raise WithheldError("not on these hosts")
def test_unsupported_in_setup(pair, unsupported_feature): pass
def test_guest_error(pair): raise GuestError("no agent")
def test_inconclusive(pair): raise InconclusiveError("over before the cut")
def test_timed_out(pair): raise TimedOut("agent: not within 4 s")
def test_unexpected_exception(pair): {}["x"]
def test_setup_host_error(pair, lost_host): pass
def test_unreachable_host(pair, unreachable_host): pass
def test_setup_asserts(pair, asserts_in_setup): pass
def test_leftovers(pair, leftover_check): pass
def test_teardown_host_error(pair, host_error_in_teardown): pass
def test_leftovers_and_teardown_host_error(pair, leftover_check, host_error_in_teardown): pass
def test_guest_error_then_leftovers(pair, leftover_check): raise GuestError("no agent")
def test_leftovers_after_setup_host_error(pair, leftover_check, lost_host): pass
def test_unsupported_then_leftovers(pair, leftover_check): raise UnsupportedError("no zstd")
def test_group(pair): raise ExceptionGroup("two", [GuestError("x"), AssertionError("y")])
def test_skips(pair): pytest.skip("not today")
@pytest.mark.xfail
def test_expected_failure(pair): assert 0, "known"
@pytest.mark.xfail
def test_unexpected_pass(pair): pass
@pytest.mark.timeout(0.3)
def test_hangs(pair): Deadline(30).pause(30)

@pytest.fixture
def verdict_check(request):
    yield
    assert request.node.stash[VERDICT].value == "fail"
def test_fixtures_see_the_verdict(pair, verdict_check): assert 0, "seen"
'''

EXPECTED = {
    "passes[raw]": (Verdict.PASS, ""),
    "passes[any]": (Verdict.PASS, ""),
    "asserts": (Verdict.FAIL, "pages differ"),
    "pytest_fail": (Verdict.FAIL, "said so"),
    "expected_error_not_raised": (Verdict.FAIL, "DID NOT RAISE"),
    "refused": (Verdict.FAIL, "MigrationRefused: stack says no"),
    "migration_timed_out": (Verdict.FAIL, "MigrationTimedOut: too slow"),
    "unsupported": (Verdict.UNSUPPORTED, "no zstd"),
    "withheld": (Verdict.WITHHELD, "not on these hosts"),
    "unsupported_in_setup": (Verdict.UNSUPPORTED, "no multifd here"),
    "guest_error": (Verdict.INCONCLUSIVE, "call: GuestError: no agent"),
    "inconclusive": (Verdict.INCONCLUSIVE, "call: InconclusiveError: over before the cut"),
    "timed_out": (Verdict.INCONCLUSIVE, "call: TimedOut: agent"),
    "unexpected_exception": (Verdict.INCONCLUSIVE, "call: KeyError: 'x'"),
    "setup_host_error": (Verdict.INCONCLUSIVE, "setup: HostError: a1: no route to host"),
    "unreachable_host": (Verdict.INCONCLUSIVE, "setup: ConnectionLost: b1: no answer"),
    "setup_asserts": (Verdict.INCONCLUSIVE, "setup: AssertionError"),
    "leftovers": (Verdict.FAIL, "leftovers"),
    "teardown_host_error": (Verdict.INCONCLUSIVE, "teardown: HostError: b1: went away"),
    "leftovers_and_teardown_host_error": (Verdict.FAIL, "leftovers"),
    "guest_error_then_leftovers": (Verdict.FAIL, "leftovers"),
    "leftovers_after_setup_host_error": (Verdict.INCONCLUSIVE, "setup: HostError"),
    "unsupported_then_leftovers": (Verdict.FAIL, "leftovers"),
    "group": (Verdict.FAIL, "y"),
    "skips": (Verdict.NOT_RUN, "skipped: not today"),
    "expected_failure": (Verdict.FAIL, "known"),
    "unexpected_pass": (Verdict.FAIL, "XPASS"),
    "hangs": (Verdict.INCONCLUSIVE, "call: Timeout (>0.3s)"),
    "fixtures_see_the_verdict": (Verdict.FAIL, "seen"),
}


@pytest.fixture(scope="module")
def serial_session(tmp_path_factory: pytest.TempPathFactory) -> InnerSession:
    return run_inner_session(tmp_path_factory.mktemp("serial"), SUITE, ["-rs"])


@pytest.fixture(scope="module")
def parallel_session(tmp_path_factory: pytest.TempPathFactory) -> InnerSession:
    suite = SUITE.replace(
        "ids=lambda p: p.id)", "ids=lambda p: p.id), pytest.mark.xdist_group('g')"
    )
    return run_inner_session(
        tmp_path_factory.mktemp("parallel"), suite, ["-n", "2", "--dist", "loadgroup"]
    )


@pytest.mark.parametrize("pair_id", ["a1-b1", "a2-b2"])
@pytest.mark.parametrize("name", EXPECTED)
def test_outcome_of_a_test_decides_the_verdict(
    serial_session: InnerSession, name: str, pair_id: str
) -> None:
    """If the hosts did not do what the requirement states, the verdict is `fail`.

    If a fault of the lab, a host or a guest prevents the test, the verdict is `inconclusive`.
    """
    record = serial_session.test_records[f"test_{name}@{pair_id}"]
    verdict, reason = EXPECTED[name]
    assert record.verdict is verdict
    assert reason in record.reason


def test_every_test_has_exactly_one_record(serial_session: InnerSession) -> None:
    """Each test has exactly one record for each pair.

    The plugin writes a record for each planned test before the first test starts. The record with
    the result replaces this record.
    """
    assert len(serial_session.test_records) == 2 * len(EXPECTED)
    assert serial_session.run_record.finished


def test_unsupported_feature_is_shown_as_skip_with_reason(serial_session: InnerSession) -> None:
    """Pytest reports an unsupported feature as SKIPPED, with the reason."""
    assert re.search(r"SKIPPED.*: unsupported: no zstd", serial_session.output)
    assert re.search(r"SKIPPED.*: unsupported: no multifd here", serial_session.output)


def test_lab_errors_are_errors_or_failures_in_pytest(serial_session: InnerSession) -> None:
    """A broken lab is never a success in pytest."""
    assert serial_session.exit_status == 1
    # Three of the five passed tests on each pair have an error in teardown.
    expected = "28 failed, 10 passed, 10 skipped, 2 xfailed, 20 errors"
    assert expected in serial_session.output.splitlines()[-1]


def test_unreachable_host_is_reported_without_traceback(serial_session: InnerSession) -> None:
    """The output has the message and the remedy of the error, and no Python traceback."""
    assert "setup: b1: no answer\n  remedy: is it up?" in serial_session.output
    assert "a trace" not in serial_session.output


def test_record_contains_all_fields_for_the_report(serial_session: InnerSession) -> None:
    """
    The record has title, docstring, phases, parameters and migrations as plain data.

    Expected: no address of a Python object in the parameters; the seconds are the sum of the
    phases.
    """
    record = serial_session.test_records["test_passes[any]@a1-b1"]
    assert record.title == "It passes, and its title has two lines."
    assert record.doc == "Expected: it passes."
    assert record.parameters == {"disk": "object"}
    assert record.migrations[0].plan == {"disk": "raw"}
    assert None not in {record.phases.setup, record.phases.call, record.phases.teardown}
    assert record.seconds == pytest.approx(record.phases.seconds, abs=1e-3)
    assert record.run == serial_session.run_record.id


def test_evidence_is_saved_only_for_failed_tests(serial_session: InnerSession) -> None:
    """Passed tests keep no evidence: hundreds of files would hide the important evidence."""
    (attachment,) = serial_session.test_records["test_asserts@a1-b1"].attachments
    assert (serial_session.out_folder / attachment.path).read_bytes() == b"\xff broken"
    assert not serial_session.test_records["test_passes[raw]@a1-b1"].attachments


def test_parallel_and_serial_give_the_same_verdict(
    serial_session: InnerSession, parallel_session: InnerSession
) -> None:
    """Runs with and without workers give the same verdict.json, except for times and run id."""
    assert parallel_session.exit_status == serial_session.exit_status
    assert remove_times_and_run_id(parallel_session.verdict) == remove_times_and_run_id(
        serial_session.verdict
    )


def test_the_terminal_shows_the_verdict(
    serial_session: InnerSession, parallel_session: InnerSession
) -> None:
    """The terminal shows the verdict with and without workers."""
    for session in (serial_session, parallel_session):
        assert "verdict: NOT QUALIFIED: 0 of 2 pairs qualify under profile inner" in session.output
        assert f"report:  {session.out_folder}/index.html" in session.output


def test_junit_names_pair_and_requirements(serial_session: InnerSession) -> None:
    """JUnit results name the pair and the requirements, for CI systems limited to JUnit."""
    cases = etree.parse(serial_session.out_folder / "junit.xml").getroot().iter("testcase")
    (case,) = (case for case in cases if case.get("name") == "test_asserts[a1-b1]")
    properties = [(element.get("name"), element.get("value")) for element in case.iter("property")]
    assert properties == [("requirement", "LM-CAP-01"), ("pair", "a1-b1")]


def remove_times_and_run_id(data: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a copy of the data without times and without the run id."""
    if isinstance(data, dict):
        removed_keys = {"seconds", "started", "finished"}
        fields = {
            key: remove_times_and_run_id(value)
            for key, value in data.items()
            if key not in removed_keys
        }
        return fields | {"run": fields["run"] | {"id": "any"}} if "run" in fields else fields
    if isinstance(data, list):
        return [remove_times_and_run_id(item) for item in data]
    return data


def test_crashed_worker_loses_no_record(tmp_path: Path) -> None:
    """The test that crashed its worker is `inconclusive`; the later tests are `not-run`."""
    suite = """
import os
pytestmark = pytest.mark.requirement("LM-CAP-01")
def test_before(): pass
def test_kills(): os._exit(9)
def test_after(): pass
"""
    session = run_inner_session(tmp_path, suite, ["-n", "1", "--max-worker-restart=0"])
    tests = session.test_records
    assert session.exit_status != 0
    assert tests["test_before"].verdict is Verdict.PASS
    assert tests["test_kills"].verdict is Verdict.INCONCLUSIVE
    assert "never ended" in tests["test_kills"].reason
    assert tests["test_after"].verdict is Verdict.NOT_RUN
    assert not any(pair["qualified"] for pair in session.verdict["pairs"])


def test_killed_session_leaves_an_unfinished_run(tmp_path: Path) -> None:
    """A run with a killed pytest process is unfinished, even if all required tests have passed."""
    suite = """
import os
@pytest.mark.requirement("LM-CAP-01")
def test_passes(): pass
@pytest.mark.requirement("LM-TLS-01")
def test_kills(): os._exit(9)
"""
    session = run_inner_session(tmp_path, suite)
    assert session.exit_status == 9
    assert session.run_record.finished is None
    assert session.test_records["test_passes"].verdict is Verdict.PASS
    assert session.test_records["test_kills"].verdict is Verdict.INCONCLUSIVE


def test_pair_known_in_setup_replaces_the_unknown_pair(tmp_path: Path) -> None:
    """If a fixture stores the pair of a test during set-up, the record has this pair."""
    suite = """
from fixtures.plugins.stash import PAIR
from migqual.model.record import PairName
@pytest.fixture
def leased(request): request.node.stash[PAIR] = PairName("a2", "b2")
@pytest.mark.requirement("LM-CAP-01")
def test_it(leased): pass
"""
    assert list(run_inner_session(tmp_path, suite).test_records) == ["test_it@a2-b2"]
