"""After the loss of a host or after the deadline, no test starts, and each record has the cause."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.early_end import is_suspicious
from migqual import paths
from migqual.errors import ConnectionLost, GuestError, InconclusiveError, TimedOut
from migqual.hosts.host import Host
from migqual.hosts.reachability import find_lost_hosts
from migqual.inventory.entities import HostEntry
from migqual.model.record import TestRecord
from migqual.model.verdict import Verdict
from migqual.report import record_files

pytestmark = pytest.mark.selftest

INVENTORY = """
all:
  vars:
    migqual_tier: lab
    migqual_known_hosts: known_hosts
    migqual_service_bridge: br0
    migqual_pairs:
      - {source: a1, destination: b1}
      - {source: a1, destination: b2}
      - {source: a3, destination: b3}
  children:
    hypervisors:
      hosts:
        a1: {ansible_host: 10.0.0.1}
        b1: {ansible_host: 10.0.0.2}
        b2: {ansible_host: 10.0.0.4}
        a3: {ansible_host: 10.0.0.5}
        b3: {ansible_host: 10.0.0.6}
"""
CONFTEST = """
from fixtures.plugins import early_end
def find_lost_hosts(entries):
    return {entry.name: "no route to host" for entry in entries if entry.name == LOST}
early_end.reachability.find_lost_hosts = find_lost_hosts
"""
SUITE = """
import time
import pytest
from migqual.errors import HostError

pytestmark = pytest.mark.requirement("LM-CAP-01")

@pytest.fixture(scope="session")
def pair(request):
    return request.param

def test_first(pair):
    if pair == "a1-b1":
        raise HostError("b1", "the connection broke")

def test_second(pair): time.sleep(PAUSE)
def test_third(pair): pass
"""
PLUGINS = ("session", "requirement_markers", "records", "early_end")


def run_suite(
    folder: Path, *options: str, lost: str = "", pause_s: float = 0.0
) -> dict[str, TestRecord]:
    """Run `SUITE` with pytest; return the records by test and pair, e.g. `first a1-b1`.

    Args:
        folder: Folder for the files of the run.
        *options: Options of pytest.
        lost: Name of the host that counts as lost; empty if no host is lost.
        pause_s: Duration of `test_second` in s.
    """
    (folder / "inventory.yml").write_text(INVENTORY)
    (folder / "known_hosts").touch()
    (folder / "test_inner.py").write_text(f"PAUSE = {pause_s}\n{SUITE}")
    (folder / "conftest.py").write_text(f"LOST = {lost!r}\n{CONFTEST}")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers = observer_check\n    selftest\n    requirement\n"
    )
    plugins = [argument for name in PLUGINS for argument in ("-p", f"fixtures.plugins.{name}")]
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *plugins, "--inventory=inventory.yml"),
            *("--report-dir=out", *options, "test_inner.py"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stdout
    return {
        f"{record.id.partition('::test_')[2]} {record.pair.id}": record
        for record in record_files.read_records([folder / "out"]).tests
        if record.pair is not None
    }


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadgroup")])
@pytest.mark.parametrize(
    ("lost", "ended_pairs"), [("b1", {"a1-b1"}), ("a1", {"a1-b1", "a1-b2"}), ("b3", set())]
)
def test_lost_host_ends_the_tests_of_its_pairs(
    tmp_path: Path, workers: tuple[str, ...], lost: str, ended_pairs: set[str]
) -> None:
    """The tests of pairs with the lost host do not start; the other pairs go on."""
    records = run_suite(tmp_path, *workers, lost=lost)

    assert records.pop("first a1-b1").verdict is Verdict.INCONCLUSIVE
    assert len(records) == 8
    for name, record in records.items():
        is_ended = name.partition(" ")[2] in ended_pairs
        assert record.verdict is (Verdict.NOT_RUN if is_ended else Verdict.PASS), name
        assert (f"{lost} was lost during test_first[a1-b1" in record.reason) is is_ended


def test_no_test_starts_after_the_deadline(tmp_path: Path) -> None:
    """Tests that did not start before the deadline are `not-run`, with the deadline as reason."""
    records = run_suite(tmp_path, "--deadline=0.05", pause_s=4.0)

    verdicts = {name: record.verdict for name, record in records.items()}
    assert verdicts["first a1-b1"] is Verdict.INCONCLUSIVE
    assert verdicts["third a3-b3"] is Verdict.NOT_RUN
    assert "deadline of 0.05 minutes" in records["third a3-b3"].reason
    assert list(verdicts.values()).count(Verdict.NOT_RUN) >= 1


def test_only_errors_of_hosts_and_timeouts_are_suspicious() -> None:
    """Only an error of a host or a timeout can mean a lost host.

    The error may be the cause of another error, or a member of an exception group.
    """
    lost = ConnectionLost("a1", "no answer")
    wrapped = InconclusiveError("not as planned")
    wrapped.__cause__ = lost
    group = ExceptionGroup("two", [AssertionError(), lost])
    harmless = (AssertionError("bad page"), GuestError("no agent"), InconclusiveError("early"))

    assert all(map(is_suspicious, (lost, wrapped, TimedOut("late"), group)))
    assert not any(map(is_suspicious, harmless))


def test_host_that_answers_nothing_is_lost(tmp_path: Path) -> None:
    """A host is lost if nothing listens on its SSH port. The result has the connection error."""
    with socket.socket() as listener:  # bound, but not listening
        listener.bind(("127.0.0.1", 0))
        entry = HostEntry(
            "a1", "127.0.0.1", tmp_path / "known_hosts", port=listener.getsockname()[1]
        )

        lost_hosts = find_lost_hosts([entry], seconds=0.1)

    assert "127.0.0.1" in lost_hosts["a1"]


def test_host_whose_libvirt_hangs_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host counts as lost when a libvirt call times out, even if SSH still works."""

    def time_out(_host: Host, *_argv: str) -> None:
        raise TimedOut("the call takes too long")

    monkeypatch.setattr("migqual.hosts.shell.Shell.run", time_out)
    entry = HostEntry("a1", "192.0.2.1", tmp_path / "known_hosts")

    assert find_lost_hosts([entry], seconds=0.1) == {"a1": "the call takes too long"}
