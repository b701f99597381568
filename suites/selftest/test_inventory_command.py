"""`migqual inventory`: what it prints and which exit code it gives."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from migqual.commands.inventory import register
from migqual.errors import InventoryError, UsageError
from migqual.model.finding import Finding, Severity
from migqual.model.inventory import Inventory

pytestmark = pytest.mark.selftest

Run = Callable[..., int]

REFUSED = Finding("LM-PRE-05.b1", Severity.REFUSED, "b1 refuses the key", remedy="ssh-copy-id")


def answers(inventory: Inventory) -> Sequence[Finding]:
    return [Finding(f"LM-PRE-05.{name}", Severity.OK, "answers") for name in inventory.hosts]


def run(*argv: str | Path, connect: Callable[[Inventory], Sequence[Finding]] = answers) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(), connect)
    args = parser.parse_args(["inventory", *map(str, argv)])
    return int(args.run(args))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An inventory of two hosts."""
    (tmp_path / "known_hosts").touch()
    file = tmp_path / "lab.yml"
    file.write_text(
        dedent("""\
        all:
          vars:
            migqual_known_hosts: known_hosts
            migqual_service_bridge: br0
            migqual_pairs: [{source: a1, destination: b1}]
          children:
            hypervisors: {hosts: {a1: , b1: }}
        """)
    )
    return file


def test_check_connects(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All hosts answer: 0."""
    assert run("check", file) == 0
    assert "2 of 2 checks passed" in capsys.readouterr().out


def test_check_tells_what_does_not_answer(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the remedy, and exit code 1."""
    assert run("check", file, connect=lambda inventory: [*answers(inventory), REFUSED]) == 1

    out = capsys.readouterr().out
    assert "ssh-copy-id" in out
    assert "2 of 3 checks passed" in out


def test_check_without_an_answer_is_no_success(file: Path) -> None:
    """Nothing checked is nothing shown."""
    assert run("check", file, connect=lambda _: []) == 1


def test_offline_check_connects_to_nothing(file: Path) -> None:
    """And judges the file alone."""
    asked: list[Inventory] = []

    def ask(inventory: Inventory) -> Sequence[Finding]:
        asked.append(inventory)
        return [REFUSED]

    assert run("check", file, "--offline", connect=ask) == 0
    assert asked == []


def test_bad_file_is_raised(file: Path) -> None:
    """The command line prints it and ends with 2."""
    file.write_text("all: {}")

    with pytest.raises(InventoryError, match="migqual_pairs: missing"):
        run("check", file, "--offline")


def test_show_names_origins(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row per value in force."""
    assert run("show", file, "--set", "tier=lab") == 0

    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["all", "migqual_tier", "lab", "command", "line"] in rows
    assert ["a1", "migqual_service_bridge", "br0", f"{file}:4"] in rows
    assert ["b1", "ansible_host", "b1", "default"] in rows


@pytest.mark.parametrize("argv", [("from-mugen",), ("--from-mugen",)])
def test_both_spellings_convert(
    argv: tuple[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To standard output."""
    env = tmp_path / "env.json"
    nodes = [{"ID": n, "IPV4": f"10.1.0.{n}"} for n in (1, 2)]
    env.write_text(json.dumps({"NODE": nodes}))

    assert run(*argv, env) == 0
    assert "{source: node1, destination: node2}" in capsys.readouterr().out


def test_no_action_is_an_error() -> None:
    """That shows the usage."""
    with pytest.raises(UsageError, match="from-mugen"):
        run()
