"""Tests of record files: strict reading, atomic writing, and merging by copying files."""

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
    PhaseSeconds,
    ProfileSnapshot,
    RequirementSummary,
    RunRecord,
    RunTier,
    TestRecord,
    parse_record,
    render_record,
)
from migqual.model.verdict import Verdict
from migqual.report import record_files

pytestmark = pytest.mark.selftest

RUN = RunRecord(
    id="20260102T030405Z-abc123",
    started="2026-01-02T03:04:05Z",
    finished=None,
    profile=ProfileSnapshot("lab", {"LM-CAP-01": Demand.REQUIRED}, {"gap_max_ms": 500}),
    tier=RunTier.REAL,
    version="1",
    pairs=(PairName("a1", "b1"),),
    requirements={"LM-CAP-01": RequirementSummary("moves", "Capabilities")},
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
    phases=PhaseSeconds(1.0, 2.0, 0.5),
    parameters={"disk": "raw", "channels": 2},
    migrations=(MigrationRecord({"tls": False}, "virsh migrate", {"gap_max_ms": 61.5, "x": None}),),
    attachments=(Attachment("log", "text/plain", "evidence/x/01-log"),),
)


def test_records_round_trip_through_json() -> None:
    """A record written to JSON and read again is equal to the first record."""
    assert parse_record(RunRecord, render_record(RUN), file="f") == RUN
    assert parse_record(TestRecord, render_record(TEST), file="f") == TEST


def test_nan_metric_is_written_as_null() -> None:
    """A NaN metric is written as null: other JSON readers refuse a file with NaN."""
    nan_record = replace(TEST, migrations=(MigrationRecord({}, "", {"ratio": math.nan}),))
    parsed_record = parse_record(TestRecord, render_record(nan_record), file="f")
    assert parsed_record.migrations[0].metrics == {"ratio": None}


def render_changed_record(**changes: object) -> str:
    return json.dumps(json.loads(render_record(TEST)) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        (render_record(TEST)[:200], "Unterminated|Expecting|delimiter"),
        ("[]", "not a JSON object"),
        (render_changed_record(format=1), "format is 1, not 7"),
        (render_changed_record(kind="run"), "the kind 'run'"),
        (render_changed_record(verdict="green"), "verdict: 'green' is not one of pass"),
        (render_changed_record(seconds="3"), "seconds: float expected, not str"),
        (render_changed_record(seconds=True), "seconds: float expected, not bool"),
        (render_changed_record(color="red"), "unknown keys: color"),
        (render_changed_record(phases={"setup": 1.0}), "phases: missing keys: call, teardown"),
        (
            render_changed_record(requirements=["LM-CAP-01", 3]),
            r"requirements\[1\]: str expected, not int",
        ),
        (render_changed_record(pair=None, migrations=[{}]), r"migrations\[0\]: .*missing"),
    ],
)
def test_invalid_record_is_refused_with_file_name(tmp_path: Path, text: str, message: str) -> None:
    """The error for an invalid record names the file and the invalid field."""
    record_files.write_run_record(tmp_path, RUN)
    (tmp_path / "test-0.json").write_text(text)
    with pytest.raises(UsageError, match=rf"(?s)test-0\.json: not a complete .*({message})"):
        record_files.read_records([tmp_path])


def test_binary_record_file_is_refused(tmp_path: Path) -> None:
    """A record file damaged during copying is a usage error, not a crash."""
    (tmp_path / "run-0.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"run-0\.json: cannot be read"):
        record_files.read_records([tmp_path])


def test_records_merge_by_copying_files(tmp_path: Path) -> None:
    """If the files of two folders are copied into one folder, all records stay the same."""
    first_folder, second_folder, merged_folder = (
        tmp_path / "one",
        tmp_path / "two",
        tmp_path / "both",
    )
    record_files.write_run_record(first_folder, RUN)
    record_files.write_test_record(first_folder, TEST)
    record_files.write_run_record(second_folder, replace(RUN, id="other"))
    record_files.write_test_record(second_folder, replace(TEST, run="other"))
    merged_folder.mkdir()
    for file in [*first_folder.iterdir(), *second_folder.iterdir()]:
        (merged_folder / file.name).write_bytes(file.read_bytes())
    assert record_files.read_records([merged_folder]) == record_files.read_records(
        [first_folder, second_folder]
    )
    assert len(record_files.read_records([merged_folder]).tests) == 2


def test_same_record_file_twice_counts_once(tmp_path: Path) -> None:
    """A folder given twice, or copied, adds no second record."""
    record_files.write_run_record(tmp_path / record_files.RECORDS_FOLDER, RUN)
    record_files.write_test_record(tmp_path / record_files.RECORDS_FOLDER, TEST)
    assert record_files.read_records(
        [tmp_path, tmp_path / record_files.RECORDS_FOLDER]
    ) == record_files.read_records([tmp_path])


def test_conflicting_records_of_a_test_are_refused(tmp_path: Path) -> None:
    """Different records of the same test are refused: the true record is unknown."""
    record_files.write_run_record(tmp_path, RUN)
    record_files.write_test_record(tmp_path, TEST)
    (tmp_path / "test-copy.json").write_text(
        render_record(TEST.replace_verdict(Verdict.FAIL, "no"))
    )
    with pytest.raises(UsageError, match="different records of the same test"):
        record_files.read_records([tmp_path])


def test_test_record_without_run_record_is_refused(tmp_path: Path) -> None:
    """A test record without the run record is refused, because the folder is incomplete."""
    record_files.write_test_record(tmp_path, TEST)
    with pytest.raises(UsageError, match="contain no record of its run"):
        record_files.read_records([tmp_path])


def test_missing_record_folder_is_refused(tmp_path: Path) -> None:
    """A missing folder, e.g. after a typing mistake, is a usage error and not an empty run."""
    with pytest.raises(UsageError, match="no such folder"):
        record_files.read_records([tmp_path / "nowhere"])


def test_environment_is_added_to_run_record(tmp_path: Path) -> None:
    """
    Facts of hosts are added to the run record: workers collect the facts, and the controller
    writes the run record.
    """
    record_files.write_run_record(tmp_path, RUN)
    record_files.write_environment(tmp_path, RUN.id, "host b1", {"qemu": "10.0"})
    (run,) = record_files.read_records([tmp_path]).runs
    assert run.environment == {**RUN.environment, "host b1": {"qemu": "10.0"}}


def test_clearing_removes_record_files_only(tmp_path: Path) -> None:
    """Only record files are removed: a folder given by mistake keeps all other files."""
    record_files.write_run_record(tmp_path, RUN)
    record_files.write_test_record(tmp_path, TEST)
    (tmp_path / "notes.txt").write_text("mine")
    record_files.remove_record_files(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
