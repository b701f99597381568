"""Output and usage errors of the command `migqual preflight`."""

import argparse
import json
from pathlib import Path

import pytest

from migqual.commands import _common_arguments, preflight
from migqual.model.finding import Finding, Severity

pytestmark = pytest.mark.selftest
FINDINGS = (
    Finding("LM-PRE-03.job", Severity.OK, "no job is active"),
    Finding("LM-PRE-04.memory", Severity.REFUSED, "too much", {"needed_mib": 9}, "free 1 MiB"),
)


def run_preflight_command(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    preflight.register(parser.add_subparsers())
    arguments = parser.parse_args(["preflight", *argv])
    return int(arguments.run(arguments))


def test_findings_table_has_remedies_and_counts() -> None:
    lines = preflight.render_findings_table(FINDINGS).splitlines()

    assert lines[0].split() == ["ok", "LM-PRE-03.job", "no", "job", "is", "active"]
    assert lines[1].split() == ["refused", "LM-PRE-04.memory", "too", "much"]
    assert lines[2].strip() == "-> free 1 MiB"
    assert lines[3] == "1 ok, 1 refused"


def test_findings_json_has_all_fields_of_a_finding() -> None:
    _, finding = json.loads(preflight.render_findings_json(FINDINGS))

    assert finding == {
        "id": "LM-PRE-04.memory",
        "severity": "refused",
        "message": "too much",
        "figures": {"needed_mib": 9},
        "remedy": "free 1 MiB",
    }


def test_preflight_without_inventory_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(_common_arguments.INVENTORY_VARIABLE, raising=False)

    assert run_preflight_command("vm", "b1") == 2
    assert "--inventory" in capsys.readouterr().err


def test_preflight_with_missing_inventory_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_preflight_command("vm", "b1", "--inventory", str(tmp_path / "none.yml")) == 2
    assert "none.yml" in capsys.readouterr().err
