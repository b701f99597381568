"""`from-mugen` converts mugen's env.json to an inventory; a person adds the missing values."""

import json
from pathlib import Path
from typing import Any

import pytest

from migqual.errors import InventoryError
from migqual.inventory.file import load_inventory
from migqual.inventory.mugen import render_mugen_inventory
from suites.selftest.support.input_problems import list_input_problems

pytestmark = pytest.mark.selftest

NAME_RULE = "a name contains only letters, digits, _ . and -, and begins with a letter or digit"
NODES: list[dict[str, Any]] = [
    {
        "ID": 1,
        "LOCALTION": "local",
        "MACHINE": "physical",
        "FRAME": "aarch64",
        "NIC": "enp3s0",
        "MAC": "52:54:00:00:00:01",
        "IPV4": "10.1.0.1",
        "USER": "root",
        "PASSWORD": "hunter2!",
        "SSH_PORT": 22,
        "BMC_IP": "",
        "BMC_USER": "",
        "BMC_PASSWORD": "hunter3!",
    },
    {
        "ID": 2,
        "LOCALTION": "remote",
        "MACHINE": "kvm",
        "FRAME": "aarch64",
        "NIC": "enp4s0",
        "MAC": "52:54:00:00:00:02",
        "IPV4": "10.1.0.2",
        "IPV6": "fd00::2",
        "USER": "123",
        "PASSWORD": "hunter2!",
        "SSH_PORT": "2222",
        "HOST_IP": "",
        "HOST_USER": "",
        "HOST_PASSWORD": "",
        "HOST_SSH_PORT": "",
    },
]


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    """Create an env.json with two nodes."""
    path = tmp_path / "env.json"
    path.write_text(json.dumps({"NODE": NODES}))
    return path


def test_passwords_are_not_copied(env_file: Path) -> None:
    """The inventory made from mugen's env.json contains no password of a node or of its BMC.

    A comment in the inventory says that the passwords were not copied.
    """
    text = render_mugen_inventory(env_file)

    assert "hunter" not in text
    assert "keys only" in text
    assert "node2 is a virtual machine" in text


def test_values_to_fill_in_are_reported(env_file: Path, tmp_path: Path) -> None:
    """An inventory from env.json is refused until a person adds the missing values.

    Expected: exactly the variables that env.json does not contain are reported.
    """
    (tmp_path / "lab.yml").write_text(render_mugen_inventory(env_file))

    with pytest.raises(InventoryError) as error_info:
        load_inventory(tmp_path / "lab.yml", environ={})

    assert {problem.path.rpartition(".")[2] for problem in error_info.value.problems} == {
        "migqual_known_hosts",
        "migqual_service_bridge",
    }


def test_completed_inventory_loads(env_file: Path, tmp_path: Path) -> None:
    """An inventory from env.json loads after a person completes the commented-out lines.

    In these lines, the person replaces the placeholder by a value and removes the `# `.
    """
    (tmp_path / "known_hosts").touch()
    text = render_mugen_inventory(env_file).replace(
        "# migqual_service_bridge: BRIDGE", "migqual_service_bridge: br0"
    )
    text = text.replace("# migqual_known_hosts: /path/to/", "migqual_known_hosts: ")
    (tmp_path / "lab.yml").write_text(text)

    pair = load_inventory(tmp_path / "lab.yml", environ={}).find_pair("node1-node2")

    assert (pair.source.address, pair.source.port) == ("10.1.0.1", 22)
    assert (pair.destination.user, pair.destination.port) == ("123", 2222)


def test_nodes_are_paired_in_order(env_file: Path) -> None:
    """Five nodes (machines of mugen) become two pairs: nodes 1 and 2, and nodes 3 and 4.

    A comment in the inventory says that node 5 is in no pair.
    """
    more_nodes = [
        {"ID": number, "IPV4": f"10.1.0.{number}", "NIC": None, "SSH_PORT": ""}
        for number in (3, 4, 5)
    ]
    env_file.write_text(json.dumps({"NODE": NODES + more_nodes}))
    text = render_mugen_inventory(env_file)

    assert "{source: node3, destination: node4}" in text
    assert "destination: node5" not in text
    assert "node5 is in no pair" in text


def test_line_break_in_a_value_stays_in_the_comment(env_file: Path) -> None:
    """A line break in a value of mugen's env.json starts no new line of the inventory.

    The inventory contains the value in a comment, and a line break would end the comment.
    """
    node = {**NODES[0], "NIC": "x\nall: {}"}
    env_file.write_text(json.dumps({"NODE": [node, NODES[1]]}))

    assert "\nall: {}" not in render_mugen_inventory(env_file)


def test_all_env_json_problems_are_reported_at_once(env_file: Path) -> None:
    """All problems of an env.json are reported together, each with its path, without the value."""
    env_file.write_text(
        json.dumps({"NODE": [{**NODES[0], "IPV4": "x", "USER": "a b"}, {"SSH_PORT": 0}]})
    )

    assert list_input_problems(render_mugen_inventory, env_file) == [
        "NODE[0].IPV4: not an IP address",
        f"NODE[0].USER: {NAME_RULE}",
        "NODE[1].ID: missing",
        "NODE[1].IPV4: missing",
        "NODE[1].SSH_PORT: Input should be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2: not JSON"),
        ("3", "(top level)"),
        ("{}", "NODE: missing"),
        ('{"NODE": []}', "NODE: "),
        ("[" * 100_000, "file: the JSON has too many nested levels"),
    ],
    ids=range(5),
)
def test_invalid_env_json_is_refused(env_file: Path, text: str, message: str) -> None:
    """An invalid env.json gives a clear message, never a traceback."""
    env_file.write_text(text)

    assert message in list_input_problems(render_mugen_inventory, env_file)[0]


def test_duplicate_nodes_are_refused(env_file: Path) -> None:
    """Two nodes with the same ID or address are refused: each node is a separate machine."""
    env_file.write_text(json.dumps({"NODE": [NODES[0], NODES[0]]}))

    assert list_input_problems(render_mugen_inventory, env_file) == [
        "NODE[1].ID: NODE[0] has the same ID 1",
        "NODE[1].IPV4: NODE[0] has the same IPV4 10.1.0.1",
    ]


def test_missing_env_json_is_reported(tmp_path: Path) -> None:
    """A missing env.json is reported as a problem of the file."""
    assert list_input_problems(render_mugen_inventory, tmp_path / "none.json") == [
        "file: No such file or directory"
    ]
