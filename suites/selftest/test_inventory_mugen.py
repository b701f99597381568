"""mugen's env.json becomes an inventory that a person completes."""

import json
from pathlib import Path
from typing import Any

import pytest

from migqual.errors import InventoryError
from migqual.model.inventory_file import load_inventory
from migqual.model.mugen import from_mugen

pytestmark = pytest.mark.selftest

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
def env(tmp_path: Path) -> Path:
    """An env.json with two nodes."""
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"NODE": NODES}))
    return file


def faults(file: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        from_mugen(file)
    return [str(fault) for fault in caught.value.faults]


def test_no_password_comes_along(env: Path) -> None:
    """Of hosts, of their carriers, of their BMCs; the text says that they were left behind."""
    text = from_mugen(env)

    assert "hunter" not in text
    assert "keys only" in text
    assert "node2 is itself a virtual machine" in text


def test_what_waits_to_be_filled_in_is_named(env: Path, tmp_path: Path) -> None:
    """As it comes out, the file lacks just what mugen cannot know."""
    (tmp_path / "lab.yml").write_text(from_mugen(env))

    with pytest.raises(InventoryError) as caught:
        load_inventory(tmp_path / "lab.yml", environ={})

    assert {fault.path.rpartition(".")[2] for fault in caught.value.faults} == {
        "migqual_known_hosts",
        "migqual_service_bridge",
    }


def test_filled_in_it_loads(env: Path, tmp_path: Path) -> None:
    """By taking the comment marks away and giving values."""
    (tmp_path / "known_hosts").touch()
    text = from_mugen(env).replace(
        "# migqual_service_bridge: BRIDGE", "migqual_service_bridge: br0"
    )
    text = text.replace("# migqual_known_hosts: /path/to/", "migqual_known_hosts: ")
    (tmp_path / "lab.yml").write_text(text)

    pair = load_inventory(tmp_path / "lab.yml", environ={}).pair("node1-node2")

    assert (pair.source.address, pair.source.port) == ("10.1.0.1", 22)
    assert (pair.destination.user, pair.destination.port) == ("123", 2222)


def test_nodes_pair_up_in_order(env: Path) -> None:
    """Two and two; one left over is told."""
    more = [{"ID": n, "IPV4": f"10.1.0.{n}", "NIC": None, "SSH_PORT": ""} for n in (3, 4, 5)]
    env.write_text(json.dumps({"NODE": NODES + more}))
    text = from_mugen(env)

    assert "{source: node3, destination: node4}" in text
    assert "destination: node5" not in text
    assert "node5 has no partner" in text


def test_foreign_text_stays_in_its_comment(env: Path) -> None:
    """A line break in a name of theirs begins no line of ours."""
    node = {**NODES[0], "NIC": "x\nall: {}"}
    env.write_text(json.dumps({"NODE": [node, NODES[1]]}))

    assert "\nall: {}" not in from_mugen(env)


def test_all_faults_at_once(env: Path) -> None:
    """By path, without showing what stood there."""
    env.write_text(
        json.dumps({"NODE": [{**NODES[0], "IPV4": "x", "USER": "a b"}, {"SSH_PORT": 0}]})
    )

    assert faults(env) == [
        "NODE[0].IPV4: not an IP address",
        "NODE[0].USER: not a name (letters, digits, and _.- inside)",
        "NODE[1].ID: missing",
        "NODE[1].IPV4: missing",
        "NODE[1].SSH_PORT: Input should be greater than or equal to 1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1, column 2: not JSON"),
        ("3", "(top level)"),
        ("{}", "NODE: missing"),
        ('{"NODE": []}', "NODE: "),
        ("[" * 100_000, "file: nested too deeply"),
    ],
    ids=range(5),
)
def test_what_is_no_env_json(env: Path, text: str, said: str) -> None:
    """One clear line, never a traceback."""
    env.write_text(text)

    assert said in faults(env)[0]


def test_equal_nodes(env: Path) -> None:
    """Two nodes are two machines."""
    env.write_text(json.dumps({"NODE": [NODES[0], NODES[0]]}))

    assert faults(env) == [
        "NODE[1].ID: 1 is that of NODE[0], too",
        "NODE[1].IPV4: 10.1.0.1 is that of NODE[0], too",
    ]


def test_absent_file(tmp_path: Path) -> None:
    """Is an error of use."""
    assert faults(tmp_path / "none.json") == ["file: No such file or directory"]
