"""Faults of inventories and hosts that `migqual inventory check` must name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from migqual.hosts.guest_identity import GUEST_PREFIX, list_lane_addresses
from migqual.hosts.host import Host
from migqual.testbed.testbed import Testbed
from suites.support.faults import inject_bridge_disconnect, inject_fault, inject_tcp_reset

RawInventory = dict[str, Any]
ADDRESS_COUNT = 8  # number of guest addresses in the inventory under check
Damage = Callable[[Testbed], AbstractContextManager[None]]
SMALL_FOLDER = "/run/mq-inventory-check"


@dataclass(frozen=True)
class InventoryFault:
    """A fault of an inventory, of a host, or of both.

    Attributes:
        findings: Ids of the findings that the check must report as refused or unknown. An id may
            contain the name of a host as `{source}`, `{destination}` or `{storage}`.
        text: Part of the message of the first finding.
        edit: Changes the inventory. The second argument is the destination's entry in the
            inventory.
        damage: Damages a host before a `with` block, and undoes the damage after the block.
        is_common: Whether the damage concerns a host that several pairs use.
        is_typical: Whether `make test` includes the fault, as an example of similar faults.
    """

    id: str
    findings: tuple[str, ...]
    text: str
    edit: Callable[[RawInventory, dict[str, Any]], object] = field(
        default=lambda _inventory, _destination: None
    )
    damage: Damage = field(default=lambda _testbed: nullcontext())
    is_common: bool = False
    is_typical: bool = False


def write_inventory(testbed: Testbed, fault: InventoryFault, folder: Path) -> Path:
    """Write an inventory file to `folder` that describes only the pair of the testbed.

    `fault.edit` changes the inventory before the function writes the file. A fault that only
    damages a host leaves the inventory unchanged.
    """
    inventory = testbed.inventory
    assert inventory.file is not None
    raw_inventory: RawInventory = YAML(typ="safe").load(inventory.file)
    _keep_pair(raw_inventory, testbed)
    destination = raw_inventory["all"]["children"]["hypervisors"]["hosts"][testbed.destination.name]
    fault.edit(raw_inventory, destination)
    file = folder / "inventory.yml"
    YAML(typ="safe").dump(raw_inventory, file)
    return file


def _keep_pair(raw_inventory: RawInventory, testbed: Testbed) -> None:
    names = {host.name for host in testbed.hosts}
    variables = raw_inventory["all"]["vars"]
    pair = {"source": testbed.source.name, "destination": testbed.destination.name}
    variables["migqual_pairs"] = [pair]
    hypervisors = raw_inventory["all"]["children"]["hypervisors"]["hosts"]
    for name in set(hypervisors) - names:
        del hypervisors[name]
    for store in variables["migqual_stores"]:
        if "hosts" in store:
            store["hosts"] = [name for name in store["hosts"] if name in names]
    variables["migqual_service_network"]["addresses"] = list_free_addresses(testbed)


def list_free_addresses(testbed: Testbed) -> list[str]:
    """List free IP addresses for guests of the lane (the pair that this worker uses).

    An address that a running guest uses is not free. For example, the list does not contain the
    address of the guest that several tests share. The list has at most `ADDRESS_COUNT` addresses.
    """
    addresses = list_lane_addresses(
        testbed.inventory, testbed.pair.lane_number, len(testbed.inventory.lanes)
    )
    names = [
        name
        for host in testbed.hosts
        for name in host.shell.run("virsh", "list", "--name").stdout.split()
        if name.startswith(GUEST_PREFIX)
    ]
    used_indexes = {int(name.rpartition("-")[2]) % len(addresses) for name in names}
    free_addresses = [
        address for index, address in enumerate(addresses) if index not in used_indexes
    ]
    return free_addresses[:ADDRESS_COUNT]


def get_variables(raw_inventory: RawInventory) -> dict[str, Any]:
    """Return the variables of the group `all` in the inventory."""
    variables: dict[str, Any] = raw_inventory["all"]["vars"]
    return variables


def set_store(raw_inventory: RawInventory, name: str, **values: str) -> None:
    """Set `values` in the store (place for disk images) with the name `name`."""
    store = next(
        one for one in get_variables(raw_inventory)["migqual_stores"] if one["name"] == name
    )
    store.update(values)


def mount_small_folder(options: str) -> Damage:
    """Return a function that mounts a tmpfs at `SMALL_FOLDER` of the destination.

    The tmpfs is mounted while a `with` block runs.

    Args:
        options: Options of mount(8), for example `ro`, `noexec` or `size=4m`.
    """

    @contextmanager
    def inject(testbed: Testbed) -> Iterator[None]:
        host = testbed.destination
        with inject_fault(
            testbed.provisioner,
            host,
            f"mount at {SMALL_FOLDER}",
            [("mkdir", SMALL_FOLDER), ("mount", "-t", "tmpfs", "-o", options, "mq", SMALL_FOLDER)],
            [("rmdir", SMALL_FOLDER), ("umount", SMALL_FOLDER)],
            lambda: host.shell.run_unchecked("findmnt", SMALL_FOLDER).status == 0,
        ):
            yield

    return inject


def hide_program(name: str, find_host: Callable[[Testbed], Host]) -> Damage:
    """Return a function that hides the program `name` of a host while a `with` block runs."""

    @contextmanager
    def inject(testbed: Testbed) -> Iterator[None]:
        host = find_host(testbed)
        path = host.shell.run("sh", "-c", f"readlink -f $(command -v {name})").stdout.strip()
        with inject_fault(
            testbed.provisioner,
            host,
            f"mount over {path}",
            [("mount", "--bind", "/dev/null", path)],
            [("umount", path)],
            lambda: host.shell.run_unchecked("sh", "-c", f"command -v {name}").status != 0,
        ):
            yield

    return inject


def run_commands(description: str, commands: str, undo_commands: str) -> Damage:
    """Return a function that damages the destination while a `with` block runs.

    The shell script `commands` damages the destination before the block. The shell script
    `undo_commands` undoes the damage after the block. In both scripts, `$1` is the name of the
    service bridge.
    """

    @contextmanager
    def inject(testbed: Testbed) -> Iterator[None]:
        host, bridge = testbed.destination, testbed.destination.entry.service_bridge
        with inject_fault(
            testbed.provisioner,
            host,
            description,
            [("sh", "-c", commands, "sh", bridge)],
            [("sh", "-c", undo_commands, "sh", bridge)],
            lambda: True,
        ):
            yield

    return inject


@contextmanager
def close_peer_ports(testbed: Testbed) -> Iterator[None]:
    """Close the SSH port of the destination for the source."""
    with inject_tcp_reset(
        testbed.provisioner,
        testbed.destination,
        f"input tcp dport {testbed.destination.entry.port} iifname mig",
    ):
        yield


@contextmanager
def close_migration_ports(testbed: Testbed) -> Iterator[None]:
    """Close the migration ports of the destination."""
    with inject_tcp_reset(testbed.provisioner, testbed.destination, "input tcp dport 49152-49215"):
        yield


@contextmanager
def disconnect_source_bridge(testbed: Testbed) -> Iterator[None]:
    """Disconnect the service bridge of the source from the network."""
    with inject_bridge_disconnect(testbed.provisioner, testbed.source):
        yield


def find_storage(testbed: Testbed) -> Host:
    """Return the first host that serves disk images over NBD or iSCSI."""
    return testbed.provisioner.hosts[testbed.inventory.store_servers[0]]
