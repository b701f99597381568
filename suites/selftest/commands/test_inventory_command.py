"""Output and exit codes of `migqual inventory`."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from migqual.commands.inventory import register
from migqual.errors import InventoryError, UsageError
from migqual.inventory.entities import Inventory
from migqual.model.finding import Finding, Severity

pytestmark = pytest.mark.selftest

Run = Callable[..., int]

REFUSED_FINDING = Finding(
    "LM-PRE-05.b1", Severity.REFUSED, "b1 refuses the key", remedy="ssh-copy-id"
)


def report_reachable_hosts(inventory: Inventory) -> Sequence[Finding]:
    return [Finding(f"LM-PRE-05.{name}", Severity.OK, "answers") for name in inventory.hosts]


def run_inventory_command(
    *argv: str | Path, connect: Callable[[Inventory], Sequence[Finding]] = report_reachable_hosts
) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(), connect)
    arguments = parser.parse_args(["inventory", *map(str, argv)])
    return int(arguments.run(arguments))


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """Create an inventory file with two hosts."""
    (tmp_path / "known_hosts").touch()
    path = tmp_path / "lab.yml"
    path.write_text(
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
    return path


def test_no_secret_of_the_inventory_is_printed(
    inventory_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No error message and no output of `show` contains a password of the inventory."""
    secret = "planted-5e21d0"  # noqa: S105 - planted, so that the test finds it
    inventory_file.write_text(
        inventory_file.read_text().replace(
            "    migqual_service_bridge: br0\n",
            "    migqual_service_bridge: br0\n"
            f"    migqual_power_command: /bin/bmc -P {secret} {{action}}\n",
        )
    )

    assert run_inventory_command("show", inventory_file) == 0
    output = capsys.readouterr().out
    assert "/bin/bmc ..." in output
    assert secret not in output

    for wrong_line in (f"ansible_password: {secret}", f"migqual_power_command: x '{secret}"):
        inventory_file.write_text(
            inventory_file.read_text().replace("vars:\n", f"vars:\n    {wrong_line}\n", 1)
        )
        with pytest.raises(InventoryError) as caught:
            run_inventory_command("show", inventory_file)
        assert secret not in f"{caught.value} {caught.value.remedy}"


def test_check_connects(inventory_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If all hosts respond, `check` ends with exit code 0."""
    assert run_inventory_command("check", inventory_file) == 0
    assert "2 of 2 checks passed" in capsys.readouterr().out


def test_check_reports_unreachable_hosts(
    inventory_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` reports an unreachable host with the remedy and ends with exit code 1."""
    assert (
        run_inventory_command(
            "check",
            inventory_file,
            connect=lambda inventory: [*report_reachable_hosts(inventory), REFUSED_FINDING],
        )
        == 1
    )

    output = capsys.readouterr().out
    assert "ssh-copy-id" in output
    assert "2 of 3 checks passed" in output


def test_check_without_findings_fails(inventory_file: Path) -> None:
    """`check` without any finding ends with exit code 1, because no host was checked."""
    assert run_inventory_command("check", inventory_file, connect=lambda _: []) == 1


def test_offline_check_does_not_connect(inventory_file: Path) -> None:
    """`check --offline` checks only the file."""
    inventories: list[Inventory] = []

    def record_connection(inventory: Inventory) -> Sequence[Finding]:
        inventories.append(inventory)
        return [REFUSED_FINDING]

    assert (
        run_inventory_command("check", inventory_file, "--offline", connect=record_connection) == 0
    )
    assert inventories == []


def test_bad_file_raises_inventory_error(inventory_file: Path) -> None:
    """A bad file raises an error; the command line prints the error and ends with exit code 2."""
    inventory_file.write_text("all: {}")

    with pytest.raises(InventoryError, match="migqual_pairs: missing"):
        run_inventory_command("check", inventory_file, "--offline")


def test_show_lists_origins(inventory_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints a row with the origin for every effective value."""
    assert run_inventory_command("show", inventory_file, "--set", "tier=lab") == 0

    rows = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["all", "migqual_tier", "lab", "command", "line"] in rows
    assert ["a1", "migqual_service_bridge", "br0", f"{inventory_file}:4"] in rows
    assert ["b1", "ansible_host", "b1", "default"] in rows


@pytest.mark.parametrize("argv", [("from-mugen",), ("--from-mugen",)])
def test_from_mugen_as_action_and_option(
    argv: tuple[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`from-mugen` and `--from-mugen` convert the file env.json of mugen to an inventory.

    mugen is the test framework of openEuler. `migqual inventory from-mugen` (action) and
    `migqual inventory --from-mugen` (option) print the same inventory to standard output.
    """
    env_file = tmp_path / "env.json"
    nodes = [{"ID": number, "IPV4": f"10.1.0.{number}"} for number in (1, 2)]
    env_file.write_text(json.dumps({"NODE": nodes}))

    assert run_inventory_command(*argv, env_file) == 0
    assert "{source: node1, destination: node2}" in capsys.readouterr().out


def test_no_action_is_an_error() -> None:
    """`migqual inventory` without an action is an error with the usage text."""
    with pytest.raises(UsageError, match="from-mugen"):
        run_inventory_command()
