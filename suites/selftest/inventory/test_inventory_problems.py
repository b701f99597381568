"""All problems of an inventory file are reported together, with path and line."""

from pathlib import Path
from textwrap import dedent

import pytest

from migqual.errors import InventoryError
from migqual.inventory.file import load_inventory

pytestmark = pytest.mark.selftest

VALID_INVENTORY = dedent("""\
    all:
      vars:
        ansible_ssh_private_key_file: id
        migqual_known_hosts: known_hosts
        migqual_pairs:
          - {source: a1, destination: b1}
        migqual_stores:
          - {kind: nbd, name: nbd, server: b1, directory: /srv/nbd}
        migqual_service_network: {addresses: 10.0.0.100-10.0.0.199, prefix: 24}
      children:
        hypervisors:
          vars: {migqual_service_bridge: br0}
          hosts:
            a1: {ansible_host: 10.1.0.1, migqual_migration_address: 10.2.0.1}
            b1: {ansible_host: 10.1.0.2, migqual_migration_address: 10.2.0.2}
        clients:
          hosts:
            c1: {ansible_host: 10.1.0.9}
    """)
VARS = "all.vars"
A1 = "all.children.hypervisors.hosts.a1"
B1 = "all.children.hypervisors.hosts.b1"


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    """Create a valid inventory with key and known_hosts in the same folder."""
    (tmp_path / "id").write_text("key")
    (tmp_path / "id").chmod(0o600)
    (tmp_path / "known_hosts").touch()
    (tmp_path / "lab.yml").write_text(VALID_INVENTORY)
    return tmp_path / "lab.yml"


def list_problems(inventory_file: Path) -> list[tuple[str, str]]:
    """Return path and message of every problem."""
    with pytest.raises(InventoryError) as error_info:
        load_inventory(inventory_file, environ={})
    return [(problem.path, problem.message) for problem in error_info.value.problems]


def test_valid_inventory_has_no_problem(inventory_file: Path) -> None:
    """The sample inventory is valid. Each of the other tests makes the inventory invalid."""
    assert load_inventory(inventory_file, environ={}).find_pair("a1-b1").id == "a1-b1"


@pytest.mark.parametrize(
    ("old_text", "new_text", "path", "expected_text"),
    [
        ("10.2.0.1", "ten", f"{A1}.migqual_migration_address", "not an IP address"),
        ("10.2.0.1", "127.0.0.1", f"{A1}.migqual_migration_address", "loopback"),
        ("10.2.0.2", "10.2.0.1", f"{B1}.migqual_migration_address", "the same address 10.2.0.1"),
        ("10.1.0.2", "10.1.0.1", f"{B1}.ansible_host", "b1 and a1 have the same address"),
        ("10.1.0.1", "10.1.0", f"{A1}.ansible_host", "neither an IP address nor a host name"),
        ("10.1.0.1", "[x]", f"{A1}.ansible_host", "string"),
        ("10.1.0.1,", "10.1.0.1, ansible_port: 0,", f"{A1}.ansible_port", "greater"),
        ("10.1.0.1,", "10.1.0.1, ansible_port: true,", f"{A1}.ansible_port", "whole number"),
        ("10.1.0.1,", "10.1.0.1, ansible_port: ,", f"{A1}.ansible_port", "empty"),
        ("10.1.0.1,", "10.1.0.1, ansible_prt: 22,", f"{A1}.ansible_prt", "ansible_port?"),
        (
            "10.1.0.1,",
            "10.1.0.1, migqual_tier: lab,",
            f"{A1}.migqual_tier",
            "only be set in all.vars",
        ),
        ("10.1.0.1,", "10.1.0.1, migqual_scratch: /,", f"{A1}.migqual_scratch", "absolute path"),
        ("10.1.0.1,", "10.1.0.1, migqual_scratch: 3,", f"{A1}.migqual_scratch", "not text"),
        ("10.1.0.1,", '10.1.0.1, migqual_emulator: "/a\\0",', f"{A1}.migqual_emulator", "unprint"),
        (
            "10.1.0.1,",
            '10.1.0.1, migqual_peer_uri: "x://{a}",',
            f"{A1}.migqual_peer_uri",
            "placeholders",
        ),
        (
            "10.1.0.1,",
            '10.1.0.1, migqual_peer_uri: "x://{",',
            f"{A1}.migqual_peer_uri",
            "placeholders",
        ),
        (
            "10.1.0.1,",
            "10.1.0.1, migqual_uri_transport: tcp,",
            f"{A1}.migqual_uri_transport",
            "ssh",
        ),
        (
            "10.1.0.1,",
            "10.1.0.1, migqual_ssh_config: x,",
            f"{A1}.migqual_ssh_config",
            "no such file",
        ),
        (
            "10.1.0.1,",
            "10.1.0.1, ansible_ssh_common_args: -v,",
            f"{A1}.ansible_ssh_common_args",
            "-J",
        ),
        (
            "10.1.0.1,",
            "10.1.0.1, migqual_jump_hosts: [a b],",
            f"{A1}.migqual_jump_hosts[0]",
            "user@",
        ),
        ("file: id", "file: nokey", f"{VARS}.ansible_ssh_private_key_file", "no such file"),
        ("hosts: known_hosts", "hosts: none", f"{VARS}.migqual_known_hosts", "no such file"),
        ("    migqual_known_hosts: known_hosts\n", "", f"{VARS}.migqual_known_hosts", "missing"),
        ("{migqual_service_bridge: br0}", "{}", f"{A1}.migqual_service_bridge", "missing"),
        (
            "migqual_service_bridge: br0",
            "migqual_service_bridge: br0, migqual_certificates: issued",
            "all.children.hypervisors.vars.migqual_certificates",
            "migqual_exclusive: true",
        ),
        *(
            (
                "10.1.0.1,",
                f"10.1.0.1, migqual_power_command: '{command}',",
                f"{A1}.migqual_power_command",
                problem,
            )
            for command, problem in (
                ("ipmitool power off", "{action} is missing"),
                ("ipmitool -H {bmc} power {action}", "use only the placeholders {action}, {name}"),
                ('ipmitool "{action}', "not a command"),
            )
        ),
        (
            "migqual_service_bridge: br0",
            "foo: 1",
            "all.children.hypervisors.vars.foo",
            "unknown key",
        ),
        (
            "destination: b1",
            "destination: b9",
            f"{VARS}.migqual_pairs[0].destination",
            "no host 'b9'",
        ),
        (
            "destination: b1",
            "destination: c1",
            f"{VARS}.migqual_pairs[0].destination",
            "not in the",
        ),
        ("destination: b1", "destination: a1", f"{VARS}.migqual_pairs[0]", "same host"),
        ("destination: b1", "dest: b1", f"{VARS}.migqual_pairs[0].dest", "unknown key"),
        (", destination: b1", "", f"{VARS}.migqual_pairs[0].destination", "missing"),
        ("b1}", "b1}\n      - {source: a1, destination: b1}", f"{VARS}.migqual_pairs[1]", "twice"),
        (
            "destination: b1",
            "destination: b1, replica_of: a9-b9",
            f"{VARS}.migqual_pairs[0].replica_of",
            "no pair 'a9-b9'",
        ),
        (
            "destination: b1",
            "destination: b1, replica_of: a1-b1",
            f"{VARS}.migqual_pairs[0].replica_of",
            "only the pairs of a lab",
        ),
        (
            "b1}",
            "b1}\n    migqual_guests: [{name: a, vcpus: 0, memory_mib: 512}]",
            f"{VARS}.migqual_guests[0].vcpus",
            "greater",
        ),
        (
            "b1}",
            "b1}\n    migqual_guests: [{name: a, vcpus: 1, memory_mib: 512, image: absent}]",
            f"{VARS}.migqual_guests[0].image",
            "absent is not a file",
        ),
        ("b1}", "b1}\n      - a1-b1", f"{VARS}.migqual_pairs[1]", "not a mapping"),
        ("server: b1", "server: b9", f"{VARS}.migqual_stores[0].server", "no host 'b9'"),
        (
            "kind: nbd",
            "kind: nfs",
            f"{VARS}.migqual_stores[0].kind",
            "directory, nbd, iscsi, local",
        ),
        ("directory: /srv", "directory: srv", f"{VARS}.migqual_stores[0].directory", "absolute"),
        ("/srv/nbd}", "/srv, ports: 9-1}", f"{VARS}.migqual_stores[0].ports", "not a port range"),
        ("0.199", "0.9", f"{VARS}.migqual_service_network.addresses", "lower to a higher"),
        ("10.0.0.199", "x", f"{VARS}.migqual_service_network.addresses", "address range"),
        ("10.0.0.199", "10.0.0.102", f"{VARS}.migqual_service_network.addresses", "needs 4"),
        (
            "prefix: 24",
            "prefix: 25",
            f"{VARS}.migqual_service_network.addresses",
            "0.128 is not in",
        ),
        ("10.0.0.199", "10.0.0.255", f"{VARS}.migqual_service_network.addresses", "broadcast"),
        ("10.0.0.199", "10.99.0.1", f"{VARS}.migqual_service_network.addresses", "more than 4096"),
        (
            "10.0.0.100-10.0.0.199, prefix: 24",
            "'fd77::-fd77::9', prefix: 64",
            f"{VARS}.migqual_service_network.addresses",
            "fd77:: is the network address",
        ),
        (
            "10.0.0.100-10.0.0.199, prefix: 24",
            "'fe80::1-fe80::9', prefix: 64",
            f"{VARS}.migqual_service_network.addresses",
            "fe80::1 is a link-local address",
        ),
        ("10.2.0.1", "'fe80::1'", f"{A1}.migqual_migration_address", "a link-local address"),
        ("10.1.0.9", "10.0.0.150", f"{VARS}.migqual_service_network.addresses", "belongs to c1"),
        ("prefix: 24", "prefix: 33", f"{VARS}.migqual_service_network.prefix", "at most 32"),
        (
            "prefix: 24",
            "prefix: 24, gateway: 10.9.0.1",
            f"{VARS}.migqual_service_network.gateway",
            "10.9.0.1 is not in",
        ),
        (
            "all:\n  vars:",
            "all:\n  vars:\n    migqual_acceleration: tcg\n    migqual_expected_acceleration: kvm",
            f"{VARS}.migqual_expected_acceleration",
            "kvm is expected",
        ),
        (
            "all:\n  vars:",
            "all:\n  vars:\n    migqual_client: z",
            f"{VARS}.migqual_client",
            "no host",
        ),
        (
            "c1: {",
            "c2: {}\n        c1: {",
            f"{VARS}.migqual_client",
            "migqual_client to one of c2, c1",
        ),
        (
            "all:\n  vars:",
            "all:\n  vars:\n    ansible_ssh_pass: z",
            f"{VARS}.ansible_ssh_pass",
            "migqual uses no passwords; set ansible_ssh_private_key_file",
        ),
        ("  children:", "  kids: {}\n  children:", "all.kids", "unknown key"),
        (
            "    clients:",
            "    hypervisors: {}\n    clients:",
            "all.children.hypervisors",
            "duplicate",
        ),
        (
            "    clients:",
            "    a: {children: {a: }}\n    clients:",
            "all.children.a.children.a",
            "two definitions",
        ),
        (
            "        a1: {",
            "        a1[1:3]: {}\n        a1: {",
            f"{A1}[1:3]",
            "a name contains only",
        ),
        (
            "        a1: {",
            "        1: {}\n        a1: {",
            "all.children.hypervisors.hosts",
            "not text",
        ),
        ("        a1: {", "        a0: 5\n        a1: {", f"{A1[:-2]}a0", "not a mapping"),
    ],
)
def test_problem_is_reported_with_its_path(
    inventory_file: Path, old_text: str, new_text: str, path: str, expected_text: str
) -> None:
    """A problem of an inventory is reported with a message and the path of the value in the file.

    The test makes one change in the valid sample inventory. An example of a path is
    `all.vars.migqual_pairs[0]`.
    """
    assert old_text in VALID_INVENTORY
    inventory_file.write_text(VALID_INVENTORY.replace(old_text, new_text, 1))

    problems = list_problems(inventory_file)

    assert [
        message
        for problem_path, message in problems
        if problem_path == path and expected_text in message
    ], problems


def test_all_inventory_problems_are_reported_at_once(inventory_file: Path) -> None:
    """Bad values, unknown keys, duplicates and cross checks are reported together.

    Each problem is reported once, with the line.
    """
    text = VALID_INVENTORY.replace("10.2.0.1", "ten").replace("destination: b1", "destination: b9")
    inventory_file.write_text(
        text.replace("    hypervisors:", "    clients: {}\n    hypervisors:") + "more: 1\n"
    )
    inventory_file.with_name("id").chmod(0o644)

    assert sorted(list_problems(inventory_file)) == sorted(
        list_expected_problems(inventory_file.with_name("id"))
    )


def list_expected_problems(key_file: Path) -> set[tuple[str, str]]:
    return {
        ("all.children.clients", "duplicate key, first on line 11 (line 17)"),
        ("more", "unknown key; groups and hosts must be below `all` (line 20)"),
        (f"{A1}.migqual_migration_address", "not an IP address (line 15)"),
        (f"{VARS}.migqual_pairs[0].destination", "no host 'b9' (line 6)"),
        (
            f"{VARS}.ansible_ssh_private_key_file",
            (
                "other users have access to the private key (permission bits 044); "
                f"run chmod 600 {key_file} (line 3)"
            ),
        ),
    }


def test_pairs_are_required(inventory_file: Path) -> None:
    """An inventory without pairs is refused: the suite qualifies pairs."""
    inventory_file.write_text(
        VALID_INVENTORY.replace("    migqual_pairs:\n      - {source: a1, destination: b1}\n", "")
    )

    assert list_problems(inventory_file) == [(f"{VARS}.migqual_pairs", "missing (line 2)")]


@pytest.mark.parametrize("text", ["", "3", "[]", "all:", "all: 3", "all: {hosts: [a]}"])
def test_file_that_is_no_inventory_is_refused(inventory_file: Path, text: str) -> None:
    """A file is refused if its contents are not an inventory."""
    inventory_file.write_text(text)

    assert list_problems(inventory_file)
