"""`migqual preflight`: what it prints, and how it says that the input is bad."""

import argparse
import json
from pathlib import Path

import pytest

from migqual.commands import _move, preflight
from migqual.model.finding import Finding, Severity

pytestmark = pytest.mark.selftest
FINDINGS = (
    Finding("LM-PRE-03.job", Severity.OK, "no job is active"),
    Finding("LM-PRE-04.memory", Severity.REFUSED, "too much", {"needed_mib": 9}, "free 1 MiB"),
)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    preflight.register(parser.add_subparsers())
    arguments = parser.parse_args(["preflight", *words])
    return int(arguments.run(arguments))


def test_table_has_a_line_per_finding_its_remedy_and_the_counts() -> None:
    lines = preflight.as_table(FINDINGS).splitlines()

    assert lines[0].split() == ["ok", "LM-PRE-03.job", "no", "job", "is", "active"]
    assert lines[1].split() == ["refused", "LM-PRE-04.memory", "too", "much"]
    assert lines[2].strip() == "-> free 1 MiB"
    assert lines[3] == "1 ok, 1 refused"


def test_json_holds_all_of_a_finding() -> None:
    _, refused = json.loads(preflight.as_json(FINDINGS))

    assert refused == {
        "id": "LM-PRE-04.memory",
        "verdict": "refused",
        "words": "too much",
        "figures": {"needed_mib": 9},
        "remedy": "free 1 MiB",
    }


def test_no_inventory_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(_move.ENVIRONMENT, raising=False)

    assert run("vm", "b1") == 2
    assert "--inventory" in capsys.readouterr().err


def test_inventory_that_is_not_there_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("vm", "b1", "--inventory", str(tmp_path / "none.yml")) == 2
    assert "none.yml" in capsys.readouterr().err
