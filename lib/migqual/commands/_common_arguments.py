"""Define arguments that several commands have, and connect to hosts that the user names."""

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
    parser.add_argument("guest", metavar="GUEST", help="name of the guest (any libvirt domain)")
    parser.add_argument(
        "destination", metavar="DESTINATION", help="name of the destination host in the inventory"
    )
    add_inventory_option(parser)
    parser.add_argument(
        "--source",
        metavar="HOST",
        help="name of the source host (default: the first hypervisor that has the guest)",
    )
    parser.add_argument(
        "--write-probes",
        action="store_true",
        help="also run checks that write to the hosts. For a moment, migqual creates a small file "
        "beside the images of the guest and locks one byte of each image. migqual also queries "
        "QEMU's monitor; libvirt then marks the domain as tainted. Without this option migqual "
        "changes nothing that belongs to the guest",
    )


@contextmanager
def open_migration_request(
    arguments: argparse.Namespace, plan: Plan
) -> Iterator[tuple[MigrationRequest, ProbeContext]]:
    """Connect to the source and the destination of a migration while the block runs.

    Args:
        arguments: The parsed arguments of `add_migration_arguments`.
        plan: The plan of the migration.

    Yields:
        The requested migration (guest, hosts and plan), and the context for probes on both hosts.

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
    """Add the option --inventory, whose default is the value of the variable MIGQUAL_INVENTORY."""
    parser.add_argument(
        "--inventory",
        type=Path,
        default=os.environ.get(INVENTORY_VARIABLE),
        metavar="FILE",
        help=f"inventory file (default: ${INVENTORY_VARIABLE})",
    )


def load_named_inventory(file: str | Path | None) -> Inventory:
    """Load the inventory file of the option --inventory.

    Raises:
        UsageError: `file` is None, or the file has errors.
    """
    if file is None:
        raise UsageError(
            "no inventory file is given",
            remedy=f"give --inventory FILE, or set the variable {INVENTORY_VARIABLE}",
        )
    return load_inventory(Path(file))


def select_hypervisors(inventory: Inventory, names: list[str]) -> list[str]:
    """Return `names`, or the names of all hypervisors if `names` is empty.

    Raises:
        UsageError: The inventory has no hypervisor with one of the names.
    """
    hypervisor_names = [entry.name for entry in inventory.list_hosts_with_role(HostRole.HYPERVISOR)]
    for name in names:
        if name not in hypervisor_names:
            raise UsageError(
                f"the inventory has no hypervisor {name!r}",
                remedy=f"choose one of the hypervisors: {', '.join(hypervisor_names)}",
            )
    return names or hypervisor_names


@contextmanager
def _open_source(
    inventory: Inventory, arguments: argparse.Namespace, destination: Host
) -> Iterator[Host]:
    """Connect to the host of --source, or to the first hypervisor that has the guest."""
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
                raise UsageError(
                    message, remedy=f"choose a destination other than {destination.name}"
                )
            raise UsageError(
                f"there is no guest {arguments.guest!r} on {', '.join([*names, destination.name])}",
                remedy="name a domain that `virsh list --all` shows on a host of the inventory",
            )
        if host.name == arguments.destination:
            raise UsageError(
                f"source and destination are the same host: {host.name}",
                remedy="choose two different hosts",
            )
        yield host


@contextmanager
def _open_journal(inventory: Inventory) -> Iterator[Journal]:
    journal = Journal(f"preflight-{uuid.uuid4().hex[:6]}", inventory)
    try:
        yield journal
    finally:
        journal.close()
