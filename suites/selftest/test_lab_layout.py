"""Layouts are pure: names, addresses and folders come from the topology and the name alone."""

from pathlib import Path

import pytest

from migqual.errors import UsageError
from migqual.lab import furnish, machine, product, topology
from migqual.lab.layout import LabLayout
from migqual.lab.topology import Topology

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def default() -> Topology:
    return topology.read("default")


def test_a_layout_touches_nothing(
    default: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking a layout for everything that it knows leaves no file."""
    monkeypatch.setenv("MIGQUAL_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("MIGQUAL_CACHE", str(tmp_path / "cache"))
    layout = LabLayout("one", default)

    known = [(h.machine, h.upper, h.console, h.cgroup, h.uuid, h.addresses) for h in layout.hosts]
    inventory = product.inventory(layout, "tcg")

    assert len(known) == len(default.hosts)
    assert inventory["all"]["vars"]["migqual_acceleration"] == "tcg"
    assert layout.folder == tmp_path / "labs" / "one"
    assert layout.shared == tmp_path / "cache" / "labs" / "one" / "shared"
    assert list(tmp_path.iterdir()) == []


def test_a_layout_is_the_same_every_time(default: Topology) -> None:
    """Two processes that look at one lab see the same lab."""
    one, other = LabLayout("one", default), LabLayout("one", default)

    assert one == other
    assert [host.uuid for host in one.hosts] == [host.uuid for host in other.hosts]


def test_two_labs_share_nothing_on_the_machine(default: Topology) -> None:
    """Whatever is visible on the machine differs between labs of different names."""
    one, other = LabLayout("one", default), LabLayout("other", default)

    for mine, theirs in zip(one.hosts, other.hosts, strict=True):
        assert mine.namespace != theirs.namespace
        assert mine.machine != theirs.machine
        assert mine.uuid != theirs.uuid
        assert mine.cgroup != theirs.cgroup
        assert mine.folder != theirs.folder
    assert one.controller != other.controller


def test_addresses_are_unique_within_a_network(default: Topology) -> None:
    """No two hosts share an address, and guests have addresses of their own."""
    layout = LabLayout("one", default)
    addresses = [address for host in layout.hosts for address in host.addresses.values()]

    assert len(addresses) == len(set(addresses))


@pytest.mark.parametrize("name", ["", "1a", "A", "a-b", "a.b", "../x", "a" * 13])
def test_names_that_would_break_something(default: Topology, name: str) -> None:
    """A lab's name becomes a folder, a namespace and a machine; others are refused."""
    with pytest.raises(UsageError, match="cannot be the name of a lab"):
        LabLayout(name, default)


def test_an_unknown_host_is_answered_with_the_known_ones(default: Topology) -> None:
    """A misspelt host costs one look."""
    with pytest.raises(UsageError, match="no host 'a9'") as caught:
        LabLayout("one", default).host("a9")
    assert "a1, b1, a2, b2, storage, client" in caught.value.remedy


def test_no_host_file_names_a_way_out(default: Topology) -> None:
    """Hosts know the lab's names and no resolver; the controller knows them as well."""
    layout = LabLayout("one", default)
    for text in (furnish.hosts_file(layout), furnish.controller_hosts_file(layout)):
        assert [line.split()[1] for line in text.splitlines()] == ["localhost", *default.hosts]


def test_the_boot_command_registers_nowhere(default: Topology) -> None:
    """The machine's own service manager is not told of hosts, nor its network lent to them."""
    layout = LabLayout("one", default)
    argv = machine.nspawn(layout, layout.host("a1"))

    assert "--register=no" in argv
    assert "--network-namespace-path=/run/netns/mq-one.a1" in argv
    assert argv[-1] == "--boot"
