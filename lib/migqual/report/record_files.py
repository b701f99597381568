"""Read and write the record files in a folder.

- `run-<run id>.json` describes a run.
- `test-<hash>.json` contains the result of a test on a pair.
- `environment-<run id>-<hash>.json` contains facts about hosts, collected during the run.

For one report on several runs, copy the files of all runs into one folder.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from migqual.errors import UsageError
from migqual.model.json_codec import encode_json_value
from migqual.model.record import (
    PairName,
    Record,
    RunRecord,
    TestRecord,
    parse_record,
    render_record,
)

RECORDS_FOLDER = "records"  # name of the folder inside a report's folder
FILE_PREFIXES: Mapping[type, str] = {RunRecord: "run-", TestRecord: "test-"}


@dataclass(frozen=True)
class RecordSet:
    """All records of the given folders, sorted independently of the order of the files."""

    runs: tuple[RunRecord, ...]
    tests: tuple[TestRecord, ...]


def write_atomically(file: Path, text: str | bytes) -> None:
    """Write `text` to `file` completely, or leave the file unchanged."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial_file = file.with_name(f".{file.name}.{os.getpid()}.part")
    partial_file.write_bytes(text.encode() if isinstance(text, str) else text)
    partial_file.replace(file)


def build_test_file_name(run_id: str, test_id: str, pair: PairName | None) -> str:
    """Build the file name of a test record. Equal arguments always give the same name."""
    key = "\0".join((run_id, test_id, pair.id if pair else ""))
    return f"test-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def write_run_record(folder: Path, run: RunRecord) -> Path:
    """Write the record of a run, and return the path of the file."""
    file = folder / f"run-{_replace_unsafe_characters(run.id)}.json"
    write_atomically(file, render_record(run))
    return file


def write_test_record(folder: Path, record: TestRecord) -> Path:
    """Write the record of a test, and return the path of the file."""
    file = folder / build_test_file_name(record.run, record.id, record.pair)
    write_atomically(file, render_record(record))
    return file


def write_environment(folder: Path, run_id: str, name: str, facts: Mapping[str, Any]) -> None:
    """Write a file with facts about the environment of a run.

    The report shows the facts under the title `name`. A later call with the same name replaces the
    facts.
    """
    key = hashlib.sha256(name.encode()).hexdigest()[:12]
    file = folder / f"environment-{_replace_unsafe_characters(run_id)}-{key}.json"
    write_atomically(
        file, json.dumps({"run": run_id, "name": name, "facts": encode_json_value(facts)}) + "\n"
    )


def remove_record_files(folder: Path) -> None:
    """Remove the record files in `folder`, but no other files."""
    for file in list_record_files(folder):
        file.unlink(missing_ok=True)


def list_record_files(folder: Path) -> list[Path]:
    """List the record files of `folder`, sorted."""
    return sorted(
        file for kind in ("run", "test", "environment") for file in folder.glob(f"{kind}-*.json")
    )


def read_records(folders: Iterable[Path]) -> RecordSet:
    """Read all records of `folders`. Equal records in two folders count once.

    Raises:
        UsageError: A folder does not exist, a file is not a complete record, two records of
            the same test or run differ, or the run record of a test is missing.
    """
    files = [file for folder in folders for file in list_record_files(_find_records_folder(folder))]
    tests = _read_unique_records(files, TestRecord)
    runs_by_id = {run.id: run for run in _read_unique_records(files, RunRecord).values()}
    for record in tests.values():
        if record.run not in runs_by_id:
            raise UsageError(
                f"test {record.id}: the given folders contain no record of its run {record.run}",
                remedy="copy all record files of this run, including run-*.json, into one folder",
            )
    for file in files:
        if file.name.startswith("environment-"):
            _add_environment(runs_by_id, file)
    return RecordSet(
        runs=tuple(sorted(runs_by_id.values(), key=lambda run: (run.started, run.id))),
        tests=tuple(tests[key] for key in sorted(tests)),
    )


def read_test_records(folder: Path) -> list[TestRecord]:
    """Read the test records of all runs in `folder`."""
    return list(_read_unique_records(list_record_files(folder), TestRecord).values())


def _find_records_folder(folder: Path) -> Path:
    """Return `folder/records` if this subfolder exists, else `folder`."""
    records_folder = folder / RECORDS_FOLDER
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder", remedy="give the output folder of a run, e.g. reports/out"
        )
    return records_folder if records_folder.is_dir() else folder


def _read_unique_records(
    files: Iterable[Path], record_type: type[Record]
) -> dict[tuple[str, str, str], Record]:
    """Read the records of the type `record_type` from `files`; return equal records only once.

    Raises:
        UsageError: A file is not a complete record, or two records of the same test or run differ.
    """
    records_by_key: dict[tuple[str, str, str], tuple[Record, Path]] = {}
    prefix = FILE_PREFIXES[record_type]
    for file in files:
        if not file.name.startswith(prefix):
            continue
        record = parse_record(record_type, _read_text(file), file=str(file))
        first_record, first_file = records_by_key.setdefault(
            _build_record_key(record), (record, file)
        )
        if first_record != record:
            raise UsageError(
                f"{file} and {first_file} are different records of the same {prefix.rstrip('-')}",
                remedy="delete the older file: a run writes each record several times, and only "
                "the last version is valid",
            )
    return {key: record for key, (record, _) in records_by_key.items()}


def _build_record_key(record: RunRecord | TestRecord) -> tuple[str, str, str]:
    if isinstance(record, RunRecord):
        return (record.id, "", "")
    return (record.id, record.pair.id if record.pair else "", record.run)


def _add_environment(runs: dict[str, RunRecord], file: Path) -> None:
    try:
        data = json.loads(_read_text(file))
        run_id, name, facts = data["run"], data["name"], data["facts"]
        run_record = runs[run_id]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{file} is incomplete, or no given folder contains the record of its run: {error}",
            remedy="copy all record files of this run again, including run-*.json",
        ) from None
    runs[run_id] = replace(run_record, environment={**run_record.environment, str(name): facts})


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error


def _replace_unsafe_characters(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", run_id)
