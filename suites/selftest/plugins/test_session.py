"""Pytest without an inventory: the usage error and the list of tests."""

import os
import subprocess
import sys

import pytest

from migqual import paths

pytestmark = pytest.mark.selftest

SUITE_FOLDER = "suites/capabilities"
NO_INVENTORY_MESSAGE = "these tests need hosts, but no inventory was given"


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest without an inventory, like a user on the command line."""
    environment = {name: value for name, value in os.environ.items() if name != "MIGQUAL_INVENTORY"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=paths.ROOT
    )


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["serial", "parallel"])
def test_missing_inventory_error_is_printed_once(workers: list[str]) -> None:
    """The output has the error with the remedy only: no traceback, no failed test."""
    result = run_pytest(SUITE_FOLDER, *workers)

    output = result.stdout + result.stderr
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert output.count(NO_INVENTORY_MESSAGE) == 1
    assert "make qualify" in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output


def test_tests_can_be_listed_without_hosts() -> None:
    """Each test is listed once, with a placeholder for the pair."""
    result = run_pytest(SUITE_FOLDER, "--collect-only", "-q")

    assert result.returncode == 0
    assert "test_gap_meter.py::test_gap_meter_measures_known_pauses[no-inventory]" in result.stdout
