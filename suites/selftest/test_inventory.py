"""A good inventory file: inheritance as in Ansible, defaults, paths, overrides, provenance."""

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from textwrap import dedent

import pytest

from migqual.errors import InventoryError, UsageError
from migqual.model.inventory import (
    DirectoryStore,
    Inventory,
    IscsiStore,
    LocalStore,
    NbdStore,
    Role,
    StoreKind,
    Tier,
)
from migqual.model.inventory_file import load_inventory

pytestmark = pytest.mark.selftest

GOOD = dedent("""\
    all:
      vars:
        ansible_ssh_private_key_file: keys/id
        migqual_known_hosts: known_hosts
        migqual_tier: lab
        migqual_pairs:
          - {source: a1, destination: b1}
        migqual_service_network:
          addresses: 10.0.0.100-10.0.0.199
          prefix: 24
          gateway: 10.0.0.1
        migqual_stores:
          - {kind: directory, name: shared, path: /srv/shared}
          - {kind: nbd, name: nbd, server: s1, directory: /srv/nbd, ports: 11000-11003}
          - kind: iscsi
            name: iscsi
            server: s1
            address: 10.9.0.3
            directory: /srv/iscsi
            target: iqn.2024-01.test.example:disks
          - {kind: local, name: local, path: /var/lib/images}
      children:
        hypervisors:
          vars:
            ansible_port: 2222
            migqual_service_bridge: br0
          children:
            old:
              vars: {ansible_port: 2200}
              hosts:
                a1: {ansible_host: 10.1.0.1, migqual_migration_address: 10.2.0.1}
          hosts:
            b1: {ansible_host: 10.1.0.2, ansible_user: admin}
        storage:
          hosts:
            s1: {ansible_host: 10.1.0.3}
        clients:
          hosts:
            c1.lab.test:
    """)

Load = Callable[..., Inventory]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as an inventory, with its key and known_hosts beside it."""
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "id"
    key.write_text("key")
    key.chmod(0o600)
    (tmp_path / "known_hosts").touch()

    def load(text: str = GOOD, *assignments: str, **environ: str) -> Inventory:
        (tmp_path / "lab.yml").write_text(text)
        return load_inventory(tmp_path / "lab.yml", environ=environ, assignments=assignments)

    return load


def origin(inventory: Inventory, scope: str, name: str) -> tuple[str, str]:
    """Value and origin of a setting; the file's name for its path."""
    found = next(s for s in inventory.settings if (s.scope, s.name) == (scope, name))
    return found.value, found.origin.rpartition("/")[2]


def line(text: str) -> int:
    """The first line of GOOD that holds `text`."""
    return next(at for at, words in enumerate(GOOD.splitlines(), 1) if text in words)


def test_values_come_from_the_nearest_place(load: Load) -> None:
    """Host over inner group over outer group over all over default."""
    hosts = load().hosts

    assert [(host.port, host.user) for host in hosts.values()] == [
        (2222, "admin"),
        (2200, "root"),
        (22, "root"),
        (22, "root"),
    ]
    assert {host.service_bridge for host in load().with_role(Role.HYPERVISOR)} == {"br0"}


def test_groups_give_roles(load: Load) -> None:
    """The groups around a host, also indirectly, say what it is for; its name is an address."""
    inventory = load()

    assert {name: set(host.roles) for name, host in inventory.hosts.items()} == {
        "a1": {Role.HYPERVISOR},
        "b1": {Role.HYPERVISOR},
        "s1": {Role.STORAGE},
        "c1.lab.test": {Role.CLIENT},
    }
    assert inventory.client is inventory.host("c1.lab.test")
    assert inventory.host("c1.lab.test").address == "c1.lab.test"


def test_paths_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    """Wherever the suite is started from."""
    host = load().host("a1")

    assert host.key == tmp_path / "keys" / "id"
    assert host.known_hosts == tmp_path / "known_hosts"
    assert host.scratch == PurePosixPath("/var/lib/migqual")


def test_pairs_and_addresses(load: Load) -> None:
    """The migration address is the controller's where the file gives no other."""
    pair = load().pair("a1-b1")

    assert pair.source.migration_address == "10.2.0.1"
    assert pair.destination.migration_address == "10.1.0.2"
    assert pair.source.peer_uri == "qemu+ssh://10.2.0.1/system"
    assert pair.reversed.id == "b1-a1"


def test_peer_uri_is_filled_in(load: Load) -> None:
    """Every placeholder, IPv6 in brackets."""
    text = GOOD.replace("10.2.0.1}", '"fd00::1", migqual_peer_uri: "qemu+tls://{address}/{name}"}')

    assert load(text).host("a1").peer_uri == "qemu+tls://[fd00::1]/a1"


def test_stores(load: Load) -> None:
    """Each kind, with its defaults."""
    stores = load().stores

    assert stores == (
        DirectoryStore("shared", PurePosixPath("/srv/shared"), ("b1", "a1")),
        NbdStore("nbd", "s1", "10.1.0.3", PurePosixPath("/srv/nbd"), range(11000, 11004)),
        IscsiStore(
            "iscsi",
            "s1",
            "10.9.0.3",
            "iqn.2024-01.test.example:disks",
            PurePosixPath("/srv/iscsi"),
            3260,
        ),
        LocalStore("local", PurePosixPath("/var/lib/images")),
    )
    assert load().store(StoreKind.NBD) is not None


def test_absent_store_is_told(load: Load) -> None:
    """With what to add."""
    text = "\n".join(row for row in GOOD.splitlines() if "kind: nbd" not in row)

    with pytest.raises(UsageError, match="no nbd store"):
        load(text).store(StoreKind.NBD)


def test_service_network(load: Load) -> None:
    """A range is its addresses."""
    network = load().service_network

    assert network is not None
    assert len(network.addresses) == 100
    assert network.addresses[-1] == ip_address("10.0.0.199")
    assert str(network.network) == "10.0.0.0/24"


@pytest.mark.parametrize(
    ("variable", "hosts"),
    [
        ("migqual_jump_hosts: [root@gate:2222, inner]", ("root@gate:2222", "inner")),
        ("migqual_jump_hosts: root@gate, inner", ("root@gate", "inner")),
        ("ansible_ssh_common_args: -o ProxyJump=root@gate", ("root@gate",)),
        ("ansible_ssh_common_args: -J gate,inner", ("gate", "inner")),
    ],
)
def test_jump_hosts(load: Load, variable: str, hosts: tuple[str, ...]) -> None:
    """As a list, as text, and in Ansible's way."""
    text = GOOD.replace("    migqual_tier: lab", f"    migqual_tier: lab\n    {variable}")

    assert load(text).host("a1").jump_hosts == hosts


def test_every_value_has_an_origin(load: Load) -> None:
    """File and line, environment, command line, default."""
    found = load(GOOD, "scratch=/srv/q", MIGQUAL_USER="qa", MIGQUAL_TIER="real")

    assert origin(found, "a1", "ansible_port") == ("2200", f"lab.yml:{line('2200')}")
    assert origin(found, "a1", "ansible_host") == ("10.1.0.1", f"lab.yml:{line('a1: {')}")
    assert origin(found, "b1", "ansible_user") == ("qa", "environment MIGQUAL_USER")
    assert origin(found, "all", "migqual_tier") == ("real", "environment MIGQUAL_TIER")
    assert origin(found, "s1", "migqual_scratch") == ("/srv/q", "command line")
    assert origin(found, "all", "migqual_acceleration") == ("auto", "default")
    assert origin(found, "all", "migqual_pairs[0]")[1] == f"lab.yml:{line('- {source')}"
    assert found.tier is Tier.REAL


def test_command_line_beats_environment_beats_file(load: Load) -> None:
    """And what is set to nothing in the environment is not set."""
    found = load(GOOD, "migqual_tier=real", MIGQUAL_TIER="lab", MIGQUAL_USER="")

    assert found.tier is Tier.REAL
    assert found.host("b1").user == "admin"


@pytest.mark.parametrize("assignment", ["tier", "tier=", "nonsense=1", "pairs=a", "=x"])
def test_assignment_that_means_nothing(load: Load, assignment: str) -> None:
    """Is refused with the names that can be set."""
    with pytest.raises(UsageError, match="guest_cpu"):
        load(GOOD, assignment)


def test_bad_override_is_told_by_where_it_came_from(load: Load) -> None:
    """Not by a place in the file."""
    with pytest.raises(InventoryError) as caught:
        load(GOOD, "port=x", MIGQUAL_TIER="moon")

    assert {fault.path for fault in caught.value.faults} == {
        "--set port",
        "environment MIGQUAL_TIER",
    }


def test_unknown_host_and_pair_are_told(load: Load) -> None:
    """With those that there are."""
    with pytest.raises(UsageError, match="b1, a1, s1"):
        load().host("z9")
    with pytest.raises(UsageError, match="a1-b1"):
        load().pair("b1-a1")
