"""The layout of a lab depends only on the topology and the lab name, and changes no file."""

from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.inventory.entities import Acceleration
from migqual.lab import host_config, inventory_export, nspawn_host, topology
from migqual.lab.layout import LabLayout
from migqual.lab.topology import Topology

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def default_topology() -> Topology:
    return topology.load_topology("default")


def test_layout_creates_no_files(
    default_topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all properties of a layout, and building the inventory, creates no file."""
    monkeypatch.setenv("MIGQUAL_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("MIGQUAL_CACHE", str(tmp_path / "cache"))
    layout = LabLayout("one", default_topology)

    host_properties = [
        (
            host.machine_name,
            host.upper,
            host.console_log,
            host.cgroup_name,
            host.uuid,
            host.addresses,
        )
        for host in layout.hosts
    ]
    inventory = inventory_export.build_inventory(layout, Acceleration.TCG)

    assert len(host_properties) == len(default_topology.hosts)
    assert inventory["all"]["vars"]["migqual_acceleration"] == "tcg"
    assert layout.runtime_folder == tmp_path / "labs" / "one"
    assert layout.shared_folder == tmp_path / "cache" / "labs" / "one" / "shared"
    assert list(tmp_path.iterdir()) == []


def test_layout_is_deterministic(default_topology: Topology) -> None:
    """Two layouts with the same name and topology are equal."""
    first_layout, second_layout = (
        LabLayout("one", default_topology),
        LabLayout("one", default_topology),
    )

    assert first_layout == second_layout
    assert [host.uuid for host in first_layout.hosts] == [host.uuid for host in second_layout.hosts]


def test_two_labs_share_no_names(default_topology: Topology) -> None:
    """Labs with different names use different names, UUIDs and folders on the machine."""
    first_lab, second_lab = LabLayout("one", default_topology), LabLayout("other", default_topology)

    for first_host, second_host in zip(first_lab.hosts, second_lab.hosts, strict=True):
        assert first_host.namespace != second_host.namespace
        assert first_host.machine_name != second_host.machine_name
        assert first_host.uuid != second_host.uuid
        assert first_host.cgroup_name != second_host.cgroup_name
        assert first_host.folder != second_host.folder
    assert first_lab.controller_namespace != second_lab.controller_namespace


def test_host_addresses_are_unique(default_topology: Topology) -> None:
    """No two hosts of a lab share an address."""
    layout = LabLayout("one", default_topology)
    addresses = [address for host in layout.hosts for address in host.addresses.values()]

    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("name", ["", "1a", "A", "a-b", "a.b", "../x", "a" * 13])
def test_invalid_lab_name_is_refused(default_topology: Topology, name: str) -> None:
    """A lab name is part of folder and machine names; invalid lab names are refused."""
    with pytest.raises(UsageError, match="cannot be the name of a lab"):
        LabLayout(name, default_topology)


def test_unknown_host_error_lists_the_hosts(default_topology: Topology) -> None:
    """The error for an unknown host lists the hosts of the lab."""
    with pytest.raises(UsageError, match="no host 'a9'") as error_info:
        LabLayout("one", default_topology).get_host("a9")
    assert "a1, b1, a2, b2, storage, client" in error_info.value.remedy


def test_hosts_files_list_only_localhost_and_lab_hosts(default_topology: Topology) -> None:
    """The hosts files of lab hosts and controller list only localhost and the lab hosts."""
    layout = LabLayout("one", default_topology)
    for text in (
        host_config.render_hosts_file(layout),
        host_config.render_controller_hosts_file(layout),
    ):
        assert [line.split()[1] for line in text.splitlines()] == [
            "localhost",
            *default_topology.hosts,
        ]


def test_nspawn_command_skips_machined_registration(default_topology: Topology) -> None:
    """
    A lab host is not registered with systemd-machined, and has a separate network namespace.

    Expected: the systemd-nspawn command has `--register=no`, and the path of the namespace. So the
    host does not use the network of the machine on which the lab runs.
    """
    layout = LabLayout("one", default_topology)
    argv = nspawn_host.build_nspawn_command(layout, layout.get_host("a1"))

    assert "--register=no" in argv
    assert "--network-namespace-path=/run/netns/mq-one.a1" in argv
    assert argv[-1] == "--boot"
