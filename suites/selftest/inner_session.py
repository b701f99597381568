"""Runs pytest on generated suites in a process of its own, with the plugins under test."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migqual import places
from migqual.model.record import RunRecord, TestRecord
from migqual.report import folder, publish

PLUGINS = ("requirements", "records", "allure_results")

INI = """
[pytest]
addopts = --strict-markers --import-mode=importlib -p no:cacheprovider
xfail_strict = true
filterwarnings = error
timeout_method = signal
markers =
    requirement(*ids): rows
    oracle: shows that an observer sees
    selftest: needs no host
"""

CONFTEST = """
import pytest
from fixtures.plugins.stash import RUN, RunFacts
from migqual.model.record import Demand, PairName, ProfileSnapshot, Tier

def pytest_configure(config):
    config.stash[RUN] = RunFacts(
        profile=ProfileSnapshot("inner", {"LM-CAP-01": Demand.REQUIRED}),
        tier=Tier.LAB,
        acceleration="tcg",
        pairs=(PairName("a1", "b1"), PairName("a2", "b2")),
        environment={"host a1": {"qemu": "7.2"}},
    )
"""


@dataclass(frozen=True)
class Session:
    """One inner session that is over."""

    code: int
    output: str
    out: Path

    @property
    def verdict(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads((self.out / publish.VERDICT).read_text())

    @property
    def run(self) -> RunRecord:
        (run,) = folder.read([self.out]).runs
        return run

    @property
    def tests(self) -> dict[str, TestRecord]:
        """Records by test name with parameters, `@pair` appended where there is one."""
        return {
            test.id.partition("::")[2] + (f"@{test.pair.id}" if test.pair else ""): test
            for test in folder.read([self.out]).tests
        }

    def allure(self) -> list[Any]:
        files = (self.out / publish.ALLURE).glob("*-result.json")
        return [json.loads(file.read_text()) for file in files]


def run_inner(
    root: Path, suite: str, arguments: Sequence[str] = (), *, file: str = "suites/test_inner.py"
) -> Session:
    """Run `suite`, the text of a test module, below `root`; give what it left."""
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text("import pytest\n" + suite)
    (root / "pytest.ini").write_text(INI)
    (root / "conftest.py").write_text(CONFTEST)
    plugins = [word for name in PLUGINS for word in ("-p", f"fixtures.plugins.{name}")]
    paths = os.pathsep.join([str(places.ROOT), str(places.ROOT / "lib")])
    out = root / "out"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *publish.pytest_arguments(out), *arguments],
        cwd=root,
        # no bytecode: two sources of one size within one second would share it
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "PYTEST_ADDOPTS": "",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Session(done.returncode, done.stdout + done.stderr, out)
