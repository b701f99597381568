"""Arguments shared by commands (GUEST, DESTINATION, --inventory), and access to the hosts."""

import argparse
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from migqual import paths
from migqual.errors import UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.image.payload import ensure_payload
from migqual.inventory.entities import HostRole, Inventory
from migqual.inventory.file import load_inventory
from migqual.model.plan import Plan
from migqual.preflight.collect import MigrationRequest
from migqual.probes.probe_context import ProbeContext, ProbeMode, staged_payload

INVENTORY_VARIABLE = "MIGQUAL_INVENTORY"


def add_migration_arguments(parser: argparse.ArgumentParser) -> None:
    """Add GUEST, DESTINATION, --inventory, --source and --write-probes to a parser."""
    parser.add_argument("guest", metavar="GUEST", help="name of any guest (libvirt domain)")
    parser.add_argument(
        "destination", metavar="DESTINATION", help="destination host, as named in the inventory"
    )
    add_inventory_option(parser)
    parser.add_argument(
        "--source", metavar="HOST", help="host of the guest (default: search all hypervisors)"
    )
    parser.add_argument(
        "--write-probes",
        action="store_true",
        help="also run probes that write: create a small file beside the images of the guest for a "
        "moment, lock one byte of each image, and query QEMU's monitor (libvirt marks the domain "
        "as tainted). Without this option migqual changes nothing of the guest",
    )


@contextmanager
def open_migration_request(
    arguments: argparse.Namespace, plan: Plan
) -> Iterator[tuple[MigrationRequest, ProbeContext]]:
    """Yield the requested migration, and a probe context on both hosts.

    Args:
        arguments: The parsed arguments of `add_migration_arguments`.
        plan: The plan of the migration.

    Yields:
        The migration request and the probe context. Both hosts stay connected during the block.

    Raises:
        UsageError: No inventory is named, or the guest or a host is unknown.
    """
    inventory = load_named_inventory(arguments.inventory)
    probes = ProbeMode.WRITING if arguments.write_probes else ProbeMode.READ_ONLY
    with ExitStack() as stack:
        (destination_name,) = select_hypervisors(inventory, [arguments.destination])
        destination = stack.enter_context(Host(inventory.find_host(destination_name)))
        source = stack.enter_context(_open_source(inventory, arguments, destination))
        journal = stack.enter_context(_open_journal(inventory))
        payload = ensure_payload(
            paths.get_cache_folder(), lambda message: print(message, file=sys.stderr)
        )
        probe_context = stack.enter_context(
            staged_payload((source, destination), journal, payload, probes)
        )
        yield MigrationRequest(arguments.guest, source, destination, plan), probe_context


def add_inventory_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --inventory; the default is the file in `MIGQUAL_INVENTORY`."""
    parser.add_argument(
        "--inventory",
        type=Path,
        default=os.environ.get(INVENTORY_VARIABLE),
        metavar="FILE",
        help=f"inventory file (default: ${INVENTORY_VARIABLE})",
    )


def load_named_inventory(file: str | Path | None) -> Inventory:
    """Load the named inventory.

    Raises:
        UsageError: No file is named, or the file has problems.
    """
    if file is None:
        raise UsageError(
            "no inventory file is given",
            remedy=f"give --inventory FILE, or set {INVENTORY_VARIABLE}",
        )
    return load_inventory(Path(file))


def select_hypervisors(inventory: Inventory, names: list[str]) -> list[str]:
    """Return the named hypervisors, or all hypervisors of the inventory without names.

    Raises:
        UsageError: A name is not the name of a hypervisor.
    """
    hypervisor_names = [entry.name for entry in inventory.list_hosts_with_role(HostRole.HYPERVISOR)]
    for name in names:
        if name not in hypervisor_names:
            raise UsageError(
                f"no hypervisor {name!r} in the inventory",
                remedy=f"hypervisors: {', '.join(hypervisor_names)}",
            )
    return names or hypervisor_names


@contextmanager
def _open_source(
    inventory: Inventory, arguments: argparse.Namespace, destination: Host
) -> Iterator[Host]:
    """Yield the host named by --source, or the first host with the guest."""
    if arguments.source:
        names = select_hypervisors(inventory, [arguments.source])
    else:
        names = [name for name in select_hypervisors(inventory, []) if name != destination.name]
    with ExitStack() as stack:
        for name in names:
            host = stack.enter_context(Host(inventory.find_host(name)))
            if arguments.source or host.libvirt.find_domain(arguments.guest) is not None:
                break
        else:
            if destination.libvirt.find_domain(arguments.guest) is not None:
                message = f"guest {arguments.guest} is already on {destination.name}"
                raise UsageError(message, remedy="choose another destination")
            searched_hosts = ", ".join(names) or f"any host except {destination.name}"
            raise UsageError(
                f"no guest {arguments.guest!r} on {searched_hosts}",
                remedy="name a domain that `virsh list --all` shows on a host of the inventory",
            )
        if host.name == arguments.destination:
            raise UsageError(
                "source and destination are the same host", remedy="choose two different hosts"
            )
        yield host


@contextmanager
def _open_journal(inventory: Inventory) -> Iterator[Journal]:
    journal = Journal(f"preflight-{uuid.uuid4().hex[:6]}", inventory)
    try:
        yield journal
    finally:
        journal.close()
