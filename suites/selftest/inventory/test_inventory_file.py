"""A valid inventory file: inheritance as in Ansible, defaults, paths, overrides and origins."""

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from textwrap import dedent

import pytest

from migqual.errors import InventoryError, UsageError
from migqual.inventory.entities import CertificateSource, HostRole, Inventory, Tier
from migqual.inventory.file import load_inventory
from migqual.inventory.stores import DirectoryStore, IscsiStore, LocalStore, NbdStore, StoreKind

pytestmark = pytest.mark.selftest

VALID_INVENTORY = dedent("""\
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

LoadText = Callable[..., Inventory]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Provide a loader for inventory texts; key and known_hosts are in the folder of the file."""
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "id"
    key.write_text("key")
    key.chmod(0o600)
    (tmp_path / "known_hosts").touch()

    def load_inventory_text(
        text: str = VALID_INVENTORY, *assignments: str, **environ: str
    ) -> Inventory:
        (tmp_path / "lab.yml").write_text(text)
        return load_inventory(tmp_path / "lab.yml", environ=environ, assignments=assignments)

    return load_inventory_text


def find_value_and_origin(inventory: Inventory, scope: str, name: str) -> tuple[str, str]:
    """Find the value and the origin of an inventory variable.

    If the origin is a file, the folder is left out, for example `lab.yml:12`.
    """
    variable = next(
        candidate
        for candidate in inventory.effective_variables
        if (candidate.scope, candidate.name) == (scope, name)
    )
    return variable.value, variable.origin.rpartition("/")[2]


def find_line_number(text: str) -> int:
    """Find the number of the first line of VALID_INVENTORY with `text`."""
    return next(number for number, row in enumerate(VALID_INVENTORY.splitlines(), 1) if text in row)


def test_values_come_from_the_nearest_group(load_text: LoadText) -> None:
    """The value of the nearest group wins.

    The order is: host, inner group, outer group, `all`, default.
    """
    hosts = load_text().hosts

    assert [(host.port, host.user) for host in hosts.values()] == [
        (2222, "admin"),
        (2200, "root"),
        (22, "root"),
        (22, "root"),
    ]
    assert {
        host.service_bridge for host in load_text().list_hosts_with_role(HostRole.HYPERVISOR)
    } == {"br0"}


def test_groups_give_roles(load_text: LoadText) -> None:
    """The direct and indirect groups of a host give the roles of the host.

    Without `ansible_host` the host name is the address.
    """
    inventory = load_text()

    assert {name: set(host.roles) for name, host in inventory.hosts.items()} == {
        "a1": {HostRole.HYPERVISOR},
        "b1": {HostRole.HYPERVISOR},
        "s1": {HostRole.STORAGE},
        "c1.lab.test": {HostRole.CLIENT},
    }
    assert inventory.client is inventory.find_host("c1.lab.test")
    assert inventory.find_host("c1.lab.test").address == "c1.lab.test"


def test_paths_are_relative_to_the_file(load_text: LoadText, tmp_path: Path) -> None:
    """Paths are relative to the inventory file, not to the working directory."""
    host = load_text().find_host("a1")

    assert host.key == tmp_path / "keys" / "id"
    assert host.known_hosts == tmp_path / "known_hosts"
    assert host.scratch == PurePosixPath("/var/lib/migqual")


def test_pairs_and_addresses(load_text: LoadText) -> None:
    """The migration address of a host defaults to `ansible_host`, the host's address for SSH."""
    pair = load_text().find_pair("a1-b1")

    assert pair.source.migration_address == "10.2.0.1"
    assert pair.destination.migration_address == "10.1.0.2"
    assert pair.source.peer_uri == "qemu+ssh://10.2.0.1:2200/system"
    assert pair.reverse.id == "b1-a1"


def test_peer_uri_placeholders_are_replaced(load_text: LoadText) -> None:
    """Every placeholder of a peer URI is replaced; IPv6 addresses get brackets."""
    text = VALID_INVENTORY.replace(
        "10.2.0.1}", '"fd00::1", migqual_peer_uri: "qemu+tls://{address}/{name}"}'
    )

    assert load_text(text).find_host("a1").peer_uri == "qemu+tls://[fd00::1]/a1"


def test_stores(load_text: LoadText) -> None:
    """An inventory file can define a directory, an NBD, an iSCSI and a local store.

    A value that the file omits gets its default, for example the port 3260 of the iSCSI server.
    """
    stores = load_text().stores

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
    assert load_text().find_store(StoreKind.NBD) is not None


def test_missing_store_is_reported(load_text: LoadText) -> None:
    """The error for a missing store names the kind of store to add."""
    text = "\n".join(row for row in VALID_INVENTORY.splitlines() if "kind: nbd" not in row)

    with pytest.raises(UsageError, match="no store of the kind nbd"):
        load_text(text).find_store(StoreKind.NBD)


@pytest.mark.parametrize(
    ("tier", "variables", "source", "is_exclusive"),
    [
        ("lab", "", CertificateSource.ISSUED, True),
        ("real", "", CertificateSource.OWN, False),
        ("real", ", migqual_exclusive: true", CertificateSource.ISSUED, True),
        (
            "real",
            ", migqual_exclusive: true, migqual_certificates: own",
            CertificateSource.OWN,
            True,
        ),
    ],
)
def test_certificates_are_issued_for_exclusive_hosts(
    load_text: LoadText, tier: str, variables: str, source: CertificateSource, *, is_exclusive: bool
) -> None:
    """By default, migqual issues certificates only for exclusive hosts.

    On a host that others may use, the default is the host's own certificates.
    """
    text = VALID_INVENTORY.replace("migqual_tier: lab", f"migqual_tier: {tier}").replace(
        "ansible_user: admin", f"ansible_user: admin{variables}"
    )

    host = load_text(text).find_host("b1")

    assert (host.certificate_source, host.is_exclusive) == (source, is_exclusive)


def test_service_network(load_text: LoadText) -> None:
    """A range of addresses is expanded to all addresses."""
    network = load_text().service_network

    assert network is not None
    assert len(network.addresses) == 100
    assert network.addresses[-1] == ip_address("10.0.0.199")
    assert str(network.network) == "10.0.0.0/24"


def test_ipv6_service_network(load_text: LoadText) -> None:
    """A guest can use the last address of an IPv6 network: IPv6 has no broadcast address."""
    text = VALID_INVENTORY.replace("10.0.0.100-10.0.0.199", "fd77::2-fd77::ff")
    text = text.replace("prefix: 24", "prefix: 120").replace("10.0.0.1\n", "fd77::1\n")
    network = load_text(text).service_network

    assert network is not None
    assert str(network.network) == "fd77::/120"
    assert (str(network.addresses[-1]), str(network.gateway)) == ("fd77::ff", "fd77::1")


@pytest.mark.parametrize(
    ("variable", "hosts"),
    [
        ("migqual_jump_hosts: [root@gate:2222, inner]", ("root@gate:2222", "inner")),
        ("migqual_jump_hosts: root@gate, inner", ("root@gate", "inner")),
        ("ansible_ssh_common_args: -o ProxyJump=root@gate", ("root@gate",)),
        ("ansible_ssh_common_args: -J gate,inner", ("gate", "inner")),
    ],
)
def test_jump_hosts(load_text: LoadText, variable: str, hosts: tuple[str, ...]) -> None:
    """Jump hosts can be a list, a text, or SSH arguments of Ansible."""
    text = VALID_INVENTORY.replace(
        "    migqual_tier: lab", f"    migqual_tier: lab\n    {variable}"
    )

    assert load_text(text).find_host("a1").jump_hosts == hosts


def test_every_value_has_an_origin(load_text: LoadText) -> None:
    """The origin of a value is file and line, environment, command line or default."""
    inventory = load_text(VALID_INVENTORY, "scratch=/srv/q", MIGQUAL_USER="qa", MIGQUAL_TIER="real")

    assert find_value_and_origin(inventory, "a1", "ansible_port") == (
        "2200",
        f"lab.yml:{find_line_number('2200')}",
    )
    assert find_value_and_origin(inventory, "a1", "ansible_host") == (
        "10.1.0.1",
        f"lab.yml:{find_line_number('a1: {')}",
    )
    assert find_value_and_origin(inventory, "b1", "ansible_user") == (
        "qa",
        "environment MIGQUAL_USER",
    )
    assert find_value_and_origin(inventory, "all", "migqual_tier") == (
        "real",
        "environment MIGQUAL_TIER",
    )
    assert find_value_and_origin(inventory, "s1", "migqual_scratch") == ("/srv/q", "command line")
    assert find_value_and_origin(inventory, "all", "migqual_acceleration") == ("auto", "default")
    assert (
        find_value_and_origin(inventory, "all", "migqual_pairs[0]")[1]
        == f"lab.yml:{find_line_number('- {source')}"
    )
    assert inventory.tier is Tier.REAL


def test_command_line_overrides_environment_and_file(load_text: LoadText) -> None:
    """The command line overrides the environment, and the environment overrides the file.

    An empty environment variable counts as not set.
    """
    inventory = load_text(VALID_INVENTORY, "migqual_tier=real", MIGQUAL_TIER="lab", MIGQUAL_USER="")

    assert inventory.tier is Tier.REAL
    assert inventory.find_host("b1").user == "admin"


@pytest.mark.parametrize("assignment", ["tier", "tier=", "nonsense=1", "pairs=a", "=x"])
def test_invalid_assignment_is_refused(load_text: LoadText, assignment: str) -> None:
    """`--set` with an invalid NAME=VALUE is refused; the error lists the names that can be set."""
    with pytest.raises(UsageError, match="guest_cpu"):
        load_text(VALID_INVENTORY, assignment)


def test_bad_override_is_reported_with_its_source(load_text: LoadText) -> None:
    """The error for a bad override names the option or the environment variable of the override.

    An override is a value that replaces a value of the inventory file. The error names no path in
    this file.
    """
    with pytest.raises(InventoryError) as error_info:
        load_text(VALID_INVENTORY, "port=x", MIGQUAL_TIER="moon")

    assert {problem.path for problem in error_info.value.problems} == {
        "--set port",
        "environment MIGQUAL_TIER",
    }


def test_unknown_host_and_pair_are_reported(load_text: LoadText) -> None:
    """The error for an unknown host or pair lists the known hosts or pairs."""
    with pytest.raises(UsageError, match="b1, a1, s1"):
        load_text().find_host("z9")
    with pytest.raises(UsageError, match="a1-b1"):
        load_text().find_pair("b1-a1")
