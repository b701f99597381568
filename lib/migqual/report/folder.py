"""A folder of record files. Runs and machines are merged by copying files into one folder.

`run-<run>.json` is a run, `test-<hash>.json` one test of it on one pair, and
`environment-<run>-<hash>.json` provenance that came to light during the run.
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
from migqual.model.decode import encode
from migqual.model.record import PairName, Record, RunRecord, TestRecord, from_json, to_json

RECORDS = "records"  # name of the folder inside a report's folder
PREFIXES: Mapping[type, str] = {RunRecord: "run-", TestRecord: "test-"}


@dataclass(frozen=True)
class Records:
    """Everything that some folders hold, sorted so that reports do not depend on file order."""

    runs: tuple[RunRecord, ...]
    tests: tuple[TestRecord, ...]


def write_atomically(file: Path, text: str | bytes) -> None:
    """Make `file` hold `text`, or leave it as it was; never anything between."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_bytes(text.encode() if isinstance(text, str) else text)
    part.replace(file)


def name_of(run: str, test: str, pair: PairName | None) -> str:
    """File name of a test's record, the same on every machine."""
    key = "\0".join((run, test, pair.id if pair else ""))
    return f"test-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def write_run(folder: Path, run: RunRecord) -> Path:
    file = folder / f"run-{_safe(run.id)}.json"
    write_atomically(file, to_json(run))
    return file


def write_test(folder: Path, record: TestRecord) -> Path:
    file = folder / name_of(record.run, record.id, record.pair)
    write_atomically(file, to_json(record))
    return file


def write_environment(folder: Path, run: str, name: str, facts: Mapping[str, Any]) -> None:
    """Add `{name: facts}` to the provenance of `run`; a later call for the same name replaces."""
    key = hashlib.sha256(name.encode()).hexdigest()[:12]
    file = folder / f"environment-{_safe(run)}-{key}.json"
    write_atomically(file, json.dumps({"run": run, "name": name, "facts": encode(facts)}) + "\n")


def clear(folder: Path) -> None:
    """Remove the record files of `folder`, and nothing else from it."""
    for file in record_files(folder):
        file.unlink(missing_ok=True)


def record_files(folder: Path) -> list[Path]:
    return sorted(
        file for kind in ("run", "test", "environment") for file in folder.glob(f"{kind}-*.json")
    )


def read(folders: Iterable[Path]) -> Records:
    """All records of `folders`; the same file in two folders counts once.

    Raises `UsageError`: a folder that is not there, a file that is not a whole record, two
    different records of one test, a record whose run is missing.
    """
    files = [file for folder in folders for file in record_files(_records_in(folder))]
    tests = _unique(files, TestRecord)
    by_id = {run.id: run for run in _unique(files, RunRecord).values()}
    for record in tests.values():
        if record.run not in by_id:
            raise UsageError(
                f"{record.id}: its run {record.run} has no record in these folders",
                remedy="copy the whole folder of the machine that made it, run-*.json included",
            )
    for file in files:
        if file.name.startswith("environment-"):
            _add_environment(by_id, file)
    return Records(
        runs=tuple(sorted(by_id.values(), key=lambda run: (run.started, run.id))),
        tests=tuple(tests[key] for key in sorted(tests)),
    )


def read_tests(folder: Path) -> list[TestRecord]:
    """The test records of a folder, whatever run they belong to."""
    return list(_unique(record_files(folder), TestRecord).values())


def _records_in(folder: Path) -> Path:
    """Both a report's folder and the records' folder in it may be named."""
    inner = folder / RECORDS
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", remedy="name a folder that holds records")
    return inner if inner.is_dir() else folder


def _unique(files: Iterable[Path], kind: type[Record]) -> dict[tuple[str, str, str], Record]:
    """The records of `kind` in `files` by what they are about."""
    found: dict[tuple[str, str, str], tuple[Record, Path]] = {}
    prefix = PREFIXES[kind]
    for file in files:
        if not file.name.startswith(prefix):
            continue
        record = from_json(kind, _text(file), file=str(file))
        known, where = found.setdefault(_key(record), (record, file))
        if known != record:
            raise UsageError(
                f"{file}: differs from {where}, which is about the same {prefix.rstrip('-')}",
                remedy="two states of one run were mixed; keep the later one only",
            )
    return {key: record for key, (record, _) in found.items()}


def _key(record: RunRecord | TestRecord) -> tuple[str, str, str]:
    if isinstance(record, RunRecord):
        return (record.id, "", "")
    return (record.id, record.pair.id if record.pair else "", record.run)


def _add_environment(runs: dict[str, RunRecord], file: Path) -> None:
    try:
        data = json.loads(_text(file))
        run, name, facts = data["run"], data["name"], data["facts"]
        known = runs[run]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{file}: not a whole environment record of a run here: {error}") from None
    runs[run] = replace(known, environment={**known.environment, str(name): facts})


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error


def _safe(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", run)
