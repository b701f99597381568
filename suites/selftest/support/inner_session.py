"""Run pytest on generated test modules in a separate process, with the plugins under test."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migqual import paths
from migqual.model.record import RunRecord, TestRecord
from migqual.report import record_files, report_folder

PLUGIN_MODULES = ("requirement_markers", "records", "skip_reports", "allure_results")

PYTEST_INI = """
[pytest]
addopts = --strict-markers --import-mode=importlib -p no:cacheprovider
xfail_strict = true
filterwarnings = error
timeout_method = signal
markers =
    requirement(*ids): requirements
    observer_check: checks that an observer finds a fault
    selftest: needs no host
"""

CONFTEST_SOURCE = """
import pytest
from fixtures.plugins.stash import RUN, RunMetadata
from migqual.model.record import Demand, PairName, ProfileSnapshot, RunTier

def pytest_configure(config):
    config.stash[RUN] = RunMetadata(
        profile=ProfileSnapshot("inner", {"LM-CAP-01": Demand.REQUIRED}),
        tier=RunTier.LAB,
        pairs=(PairName("a1", "b1"), PairName("a2", "b2")),
        expected_acceleration="",
        environment={"host a1": {"qemu": "7.2"}, "guests on a1": {"acceleration": "tcg"}},
    )
"""


@dataclass(frozen=True)
class InnerSession:
    """The result of a finished inner pytest session."""

    exit_status: int
    output: str
    out_folder: Path

    @property
    def verdict(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads((self.out_folder / report_folder.VERDICT_FILE).read_text())

    @property
    def run_record(self) -> RunRecord:
        (record,) = record_files.read_records([self.out_folder]).runs
        return record

    @property
    def test_records(self) -> dict[str, TestRecord]:
        """Return the test records by test name with parameters.

        The name ends in `@pair` if the test has a pair.
        """
        return {
            record.id.partition("::")[2] + (f"@{record.pair.id}" if record.pair else ""): record
            for record in record_files.read_records([self.out_folder]).tests
        }

    def read_allure_results(self) -> list[Any]:
        result_files = (self.out_folder / report_folder.ALLURE_FOLDER).glob("*-result.json")
        return [json.loads(file.read_text()) for file in result_files]


def run_inner_session(
    root: Path,
    test_source: str,
    arguments: Sequence[str] = (),
    *,
    test_file: str = "suites/test_inner.py",
) -> InnerSession:
    """Run `test_source`, the text of a test module, below `root`; return the finished session."""
    (root / test_file).parent.mkdir(parents=True, exist_ok=True)
    (root / test_file).write_text("import pytest\n" + test_source)
    (root / "pytest.ini").write_text(PYTEST_INI)
    (root / "conftest.py").write_text(CONFTEST_SOURCE)
    plugin_options = [
        option for module in PLUGIN_MODULES for option in ("-p", f"fixtures.plugins.{module}")
    ]
    python_path = os.pathsep.join([str(paths.ROOT), str(paths.ROOT / "lib")])
    out_folder = root / "out"
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plugin_options,
            *report_folder.build_pytest_arguments(out_folder),
            *arguments,
        ],
        cwd=root,
        # No bytecode: Python would reuse the .pyc file for a source of the same size, written in
        # the same second.
        env={
            **os.environ,
            "PYTHONPATH": python_path,
            "PYTEST_ADDOPTS": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return InnerSession(result.returncode, result.stdout + result.stderr, out_folder)
