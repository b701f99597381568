"""Record files: strict reading, atomic writing, merging by copying."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.model.record import (
    Attachment,
    Demand,
    MigrationRecord,
    PairName,
    Phases,
    ProfileSnapshot,
    RequirementName,
    RunRecord,
    TestRecord,
    Tier,
    from_json,
    to_json,
)
from migqual.model.verdict import Verdict
from migqual.report import folder

pytestmark = pytest.mark.selftest

RUN = RunRecord(
    id="20260102T030405Z-abc123",
    started="2026-01-02T03:04:05Z",
    finished=None,
    profile=ProfileSnapshot("lab", {"LM-CAP-01": Demand.REQUIRED}, {"gap_max_ms": 500}),
    tier=Tier.REAL,
    acceleration="kvm",
    version="1",
    pairs=(PairName("a1", "b1"),),
    requirements={"LM-CAP-01": RequirementName("moves", "Capabilities")},
    environment={"host a1": {"qemu": "7.2", "cpu": {"model": "x"}}},
)
TEST = TestRecord(
    run=RUN.id,
    id="suites/shared/test_x.py::test_y[raw]",
    title="A guest moves",
    doc="",
    chapter="Capabilities",
    requirements=("LM-CAP-01",),
    pair=RUN.pairs[0],
    verdict=Verdict.PASS,
    started="2026-01-02T03:04:06Z",
    seconds=3.5,
    phases=Phases(1.0, 2.0, 0.5),
    parameters={"disk": "raw", "channels": 2},
    migrations=(MigrationRecord({"tls": False}, "virsh migrate", {"gap_max_ms": 61.5, "x": None}),),
    attachments=(Attachment("log", "text/plain", "evidence/x/01-log"),),
)


def test_what_is_written_is_read_back() -> None:
    """Nothing changes on the way through a file."""
    assert from_json(RunRecord, to_json(RUN), file="f") == RUN
    assert from_json(TestRecord, to_json(TEST), file="f") == TEST


def test_a_figure_that_json_lacks_is_not_measured() -> None:
    """NaN would make a file that other readers refuse."""
    spoilt = replace(TEST, migrations=(MigrationRecord({}, "", {"ratio": math.nan}),))
    read = from_json(TestRecord, to_json(spoilt), file="f")
    assert read.migrations[0].metrics == {"ratio": None}


def broken(**changes: object) -> str:
    return json.dumps(json.loads(to_json(TEST)) | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        (to_json(TEST)[:200], "Unterminated|Expecting|delimiter"),
        ("[]", "not a JSON object"),
        (broken(format=1), "format: 1 is not 3"),
        (broken(kind="run"), "kind: 'run'"),
        (broken(verdict="green"), "verdict: 'green' is none of pass"),
        (broken(seconds="3"), "seconds: float expected, not str"),
        (broken(seconds=True), "seconds: float expected, not bool"),
        (broken(colour="red"), "colour unknown"),
        (broken(phases={"setup": 1.0}), "phases: call, teardown missing"),
        (broken(requirements=["LM-CAP-01", 3]), r"requirements\[1\]: str expected, not int"),
        (broken(pair=None, migrations=[{}]), r"migrations\[0\]: .*missing"),
    ],
)
def test_what_is_not_a_whole_record_is_refused_by_name(
    tmp_path: Path, text: str, words: str
) -> None:
    """The error names the file and the place in it."""
    folder.write_run(tmp_path, RUN)
    (tmp_path / "test-0.json").write_text(text)
    with pytest.raises(UsageError, match=rf"(?s)test-0\.json: not a whole .*({words})"):
        folder.read([tmp_path])


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    """A file damaged in copying is bad input, not a crash."""
    (tmp_path / "run-0.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"run-0\.json: cannot be read"):
        folder.read([tmp_path])


def test_machines_are_merged_by_copying_files(tmp_path: Path) -> None:
    """Two folders, and one folder with the files of both, hold the same."""
    one, two, both = tmp_path / "one", tmp_path / "two", tmp_path / "both"
    folder.write_run(one, RUN)
    folder.write_test(one, TEST)
    folder.write_run(two, replace(RUN, id="other"))
    folder.write_test(two, replace(TEST, run="other"))
    both.mkdir()
    for file in [*one.iterdir(), *two.iterdir()]:
        (both / file.name).write_bytes(file.read_bytes())
    assert folder.read([both]) == folder.read([one, two])
    assert len(folder.read([both]).tests) == 2


def test_the_same_file_twice_counts_once(tmp_path: Path) -> None:
    """Naming a folder twice, or copying it, changes nothing."""
    folder.write_run(tmp_path / folder.RECORDS, RUN)
    folder.write_test(tmp_path / folder.RECORDS, TEST)
    assert folder.read([tmp_path, tmp_path / folder.RECORDS]) == folder.read([tmp_path])


def test_two_states_of_one_test_are_refused(tmp_path: Path) -> None:
    """Which of them is true cannot be known."""
    folder.write_run(tmp_path, RUN)
    folder.write_test(tmp_path, TEST)
    (tmp_path / "test-copy.json").write_text(to_json(TEST.judged(Verdict.FAIL, "no")))
    with pytest.raises(UsageError, match="about the same test"):
        folder.read([tmp_path])


def test_a_test_without_its_run_is_refused(tmp_path: Path) -> None:
    """Half a folder must not be judged."""
    folder.write_test(tmp_path, TEST)
    with pytest.raises(UsageError, match="has no record in these folders"):
        folder.read([tmp_path])


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A typing mistake is no empty run."""
    with pytest.raises(UsageError, match="no such folder"):
        folder.read([tmp_path / "nowhere"])


def test_provenance_is_added_to_its_run(tmp_path: Path) -> None:
    """Workers learn about hosts while the controller holds the run."""
    folder.write_run(tmp_path, RUN)
    folder.write_environment(tmp_path, RUN.id, "host b1", {"qemu": "10.0"})
    (run,) = folder.read([tmp_path]).runs
    assert run.environment == {**RUN.environment, "host b1": {"qemu": "10.0"}}


def test_clearing_takes_record_files_only(tmp_path: Path) -> None:
    """A folder named by mistake loses nothing else."""
    folder.write_run(tmp_path, RUN)
    folder.write_test(tmp_path, TEST)
    (tmp_path / "notes.txt").write_text("mine")
    folder.clear(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
