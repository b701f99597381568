"""Topology files of labs: errors name the place in the file; the shipped files are valid."""

from pathlib import Path

import pytest

from migqual import paths
from migqual.architecture import Architecture
from migqual.errors import InventoryError, UsageError
from migqual.image.rootfs import RootfsSpec
from migqual.inventory.entities import Acceleration
from migqual.inventory.file import load_inventory
from migqual.lab import host_rootfs, inventory_export, topology
from migqual.lab.layout import LabLayout
from migqual.lab.topology import LabRole

pytestmark = pytest.mark.selftest

VALID_TOPOLOGY = """\
hosts:
  a1: {}
  b1: {release: trixie}
  client: {role: client}
pairs:
  - {source: a1, destination: b1}
"""


def get_topology_error(tmp_path: Path, text: str) -> str:
    file = tmp_path / "bad.yml"
    file.write_text(text)
    with pytest.raises(InventoryError) as error_info:
        topology.load_topology(str(file))
    assert str(file) in str(error_info.value)
    return str(error_info.value)


@pytest.mark.parametrize(
    "file", sorted((paths.FIXTURES / "labs").glob("*.yml")), ids=lambda f: f.stem
)
def test_shipped_topologies_are_valid(file: Path) -> None:
    """
    Each shipped topology loads by name, and its hosts have the roles that the tests need.

    Expected: exactly one host has the role storage. All hosts of pairs are hypervisors. A topology
    without a client does not load, so this test does not check for a client.
    """
    lab_topology = topology.load_topology(file.stem)

    assert len(lab_topology.list_hosts(LabRole.STORAGE)) == 1
    assert {name for pair in lab_topology.pairs for name in (pair.source, pair.destination)} <= set(
        lab_topology.list_hosts(LabRole.HYPERVISOR)
    )


def test_default_topology_has_two_separate_pairs() -> None:
    """The pairs of the default topology share no host, so each worker has separate hosts."""
    names = [
        name
        for pair in topology.load_topology("default").pairs
        for name in (pair.source, pair.destination)
    ]

    assert len(names) == len(set(names)) == 4


def test_replicas_are_built_like_their_pairs() -> None:
    """
    The hosts of a replica are built like the hosts of the original pair.

    Preconditions: a topology with two original pairs. A replica is an additional pair. Replicas
    are added until the topology has five lanes (pairs and replicas).
    Expected: three replicas are added: one of the first pair, one of the second pair, and another
    one of the first pair. If two lanes are requested, no replica is added. The extended topology
    stays the same when it is written as JSON and read again.
    """
    default_topology = topology.load_topology("default")
    extended_topology = topology.add_replicas(default_topology, 5)

    assert [(pair.id, pair.replica_of) for pair in extended_topology.pairs[2:]] == [
        ("a1x0-b1x0", "a1-b1"),
        ("a2x1-b2x1", "a2-b2"),
        ("a1x2-b1x2", "a1-b1"),
    ]
    assert extended_topology.hosts["a1x2"] == default_topology.hosts["a1"]
    assert (
        topology.Topology.model_validate(extended_topology.model_dump(mode="json"))
        == extended_topology
    )
    assert topology.add_replicas(default_topology, 2) == default_topology


@pytest.mark.parametrize(
    "name", sorted(file.stem for file in (paths.FIXTURES / "labs").glob("*.yml"))
)
def test_inventory_of_each_topology_can_be_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inventory of each topology loads without error, even with eight pairs of hosts.

    Replicas (additional pairs built like the original pairs) extend the topology to eight pairs.
    """
    monkeypatch.setenv("MIGQUAL_LABS", str(tmp_path))
    lab_topology = topology.add_replicas(topology.load_topology(name), 8)
    layout = LabLayout("x", lab_topology)
    layout.ssh_key_file.parent.mkdir(parents=True)
    layout.ssh_key_file.touch(0o600)
    layout.known_hosts_file.touch()

    file = inventory_export.write_inventory(layout, acceleration=Acceleration.TCG)

    assert {pair.id for pair in load_inventory(file).lanes} == {
        pair.id for pair in lab_topology.pairs
    }


def test_guest_architecture_decides_packages_and_inventory() -> None:
    """The hosts of a lab get QEMU for the guests, and the inventory names the architecture."""
    lab_topology = topology.load_topology("single-pair").model_copy(
        update={"guest": Architecture.AARCH64}
    )

    inventory = inventory_export.build_inventory(LabLayout("x", lab_topology), Acceleration.TCG)
    rootfs = host_rootfs.choose_rootfs(lab_topology.hosts["a1"], Architecture.AARCH64)

    assert inventory["all"]["vars"]["migqual_guest_architecture"] == "aarch64"
    assert "migqual_guest_cpu" not in inventory["all"]["vars"]  # qemu64 is a CPU of x86_64
    assert isinstance(rootfs, RootfsSpec)
    assert {"qemu-efi-aarch64", "qemu-system-arm"} <= set(rootfs.packages)


def test_valid_topology_file(tmp_path: Path) -> None:
    """The file's values are read; missing keys get the default values."""
    file = tmp_path / "mine.yml"
    file.write_text(VALID_TOPOLOGY)

    lab_topology = topology.load_topology(str(file))

    assert {name: host.release for name, host in lab_topology.hosts.items()} == {
        "a1": "bookworm",
        "b1": "trixie",
        "client": "bookworm",
    }
    assert lab_topology.acceleration is Acceleration.AUTO


@pytest.mark.parametrize(
    ("original", "replacement", "message"),
    [
        ("pairs:", "pairs: [", "line"),
        ("destination: b1", "destination: b9", "pair names b9, which is not a hypervisor"),
        ("destination: b1", "destination: client", "pair names client, which is not a hypervisor"),
        ("destination: b1", "destination: a1", "must be different hosts"),
        (
            "destination: b1",
            "destination: b1, replica_of: a9-b9",
            "replica of a9-b9, which is not a pair",
        ),
        ("{role: client}", "{}", "exactly one host must have the role client"),
        ("{role: client}", "{role: cook}", "hosts.client.role"),
        (
            "  a1: {}",
            "  a1: {rootfs: /nonsense}",
            "hosts.a1.rootfs: /nonsense is not a root file system",
        ),
        ("  a1: {}", "  a1: {}\n  a1: {}", "a1"),
        ("  a1: {}", "  a1: {releases: sid}", "hosts.a1.releases"),
        ("  a1: {}", "  a-host-with-a-long-name: {}", "1 to 9 lower-case letters and digits"),
        ("  a1: {}", "  a1: {}\n  s1: {role: storage}\n  s2: {role: storage}", "at most one"),
        ("  a1: {}", "  a1: {qemu_prefix: /nonsense}", "/nonsense contains no QEMU"),
        ("  a1: {}", "  a1: {quirks: {jump_host: a9}}", "jump_host a9 is not a host of"),
        (
            "  a1: {}",
            "  a1: {quirks: {jump_host: a1}}",
            "jump_host a1 is not a host of this topology, or",
        ),
        ("pairs:", "ipv6_networks: [mgmt]\npairs:", "ipv6_networks"),
        ("pairs:", "acceleration: warp\npairs:", "acceleration"),
        ("pairs:", "links: {migration: {rate_mbit: -1}}\npairs:", "links.migration.rate_mbit"),
    ],
)
def test_topology_error_names_file_and_place(
    tmp_path: Path, original: str, replacement: str, message: str
) -> None:
    """The message of each error contains the file and the place in the file."""
    assert message in get_topology_error(tmp_path, VALID_TOPOLOGY.replace(original, replacement, 1))


def test_all_schema_errors_are_reported_together(tmp_path: Path) -> None:
    """If two hosts in the topology file have an unknown key, one message contains both errors."""
    message = get_topology_error(
        tmp_path, VALID_TOPOLOGY.replace("a1: {}", "a1: {x: 1}").replace("b1: {", "b1: {y: 2, ")
    )

    assert "hosts.a1.x" in message
    assert "hosts.b1.y" in message


def test_all_consistency_errors_are_reported_together(tmp_path: Path) -> None:
    """If a pair names two unknown hosts, one message contains both errors."""
    message = get_topology_error(
        tmp_path,
        VALID_TOPOLOGY.replace("{source: a1, destination: b1}", "{source: a8, destination: b9}"),
    )

    assert "names a8" in message
    assert "names b9" in message


def test_unknown_topology_error_lists_all_topologies() -> None:
    """The error for a misspelled topology name lists the shipped topologies."""
    with pytest.raises(UsageError, match="default") as error_info:
        topology.load_topology("defaults")
    assert "single-pair" in error_info.value.remedy


def test_missing_topology_file(tmp_path: Path) -> None:
    """An argument with the suffix .yml is a path; the error names the missing file."""
    with pytest.raises(UsageError, match=r"none\.yml"):
        topology.load_topology(str(tmp_path / "none.yml"))
