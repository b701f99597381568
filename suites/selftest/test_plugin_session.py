"""What pytest says where it has no hosts to run on."""

import os
import subprocess
import sys

import pytest

from migqual import places

pytestmark = pytest.mark.selftest

CHAPTER = "suites/capabilities"
WORDS = "these tests need hosts, and no inventory was named"


def run_pytest(*words: str) -> subprocess.CompletedProcess[str]:
    """As somebody types it who has not named an inventory."""
    environment = {k: v for k, v in os.environ.items() if k != "MIGQUAL_INVENTORY"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=places.ROOT
    )


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["serial", "parallel"])
def test_what_to_type_is_told_once(workers: list[str]) -> None:
    """And nothing else: no traceback, no test that failed."""
    done = run_pytest(CHAPTER, *workers)

    said = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert said.count(WORDS) == 1
    assert "make qualify" in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said


def test_tests_can_be_listed_without_hosts() -> None:
    """Each once, for pairs that nobody knows yet."""
    done = run_pytest(CHAPTER, "--collect-only", "-q")

    assert done.returncode == 0
    assert "test_gap_meter.py::test_gaps_are_measured_truly[no-inventory]" in done.stdout
