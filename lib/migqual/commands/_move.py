"""GUEST and DESTINATION on a command line, and what is needed to look at them."""

import argparse
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from migqual import places
from migqual.errors import UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.image.payload import ensure_payload
from migqual.model.inventory import Inventory, Role
from migqual.model.inventory_file import load_inventory
from migqual.model.plan import Plan
from migqual.preflight.collect import Move
from migqual.preflight.tools import Probes, Tools, staged

ENVIRONMENT = "MIGQUAL_INVENTORY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """GUEST, DESTINATION, and how to find them."""
    parser.add_argument("guest", metavar="GUEST", help="name of a domain, ours or not")
    parser.add_argument("destination", metavar="DESTINATION", help="a host of the inventory")
    add_inventory(parser)
    parser.add_argument(
        "--source", metavar="HOST", help="where the guest is (default: it is looked for)"
    )
    parser.add_argument(
        "--write-probes",
        action="store_true",
        help="write a token beside the guest's images for a moment, lock a byte of them, and "
        "question QEMU itself, which libvirt notes as tainting the domain; without it nothing of "
        "the guest is touched",
    )


@contextmanager
def asked(arguments: argparse.Namespace, plan: Plan) -> Iterator[tuple[Move, Tools]]:
    """The move that the arguments name, and tools on both hosts while the block runs."""
    inventory = inventory_of(arguments.inventory)
    probes = Probes.WRITING if arguments.write_probes else Probes.READ_ONLY
    with ExitStack() as stack:
        (towards,) = hypervisors(inventory, [arguments.destination])
        destination = stack.enter_context(Host(inventory.host(towards)))
        source = stack.enter_context(_source(inventory, arguments, destination))
        journal = stack.enter_context(_journal(inventory))
        payload = ensure_payload(places.cache(), lambda words: print(words, file=sys.stderr))
        tools = stack.enter_context(staged((source, destination), journal, payload, probes))
        yield Move(arguments.guest, source, destination, plan), tools


def add_inventory(parser: argparse.ArgumentParser) -> None:
    """--inventory, or what the environment names."""
    parser.add_argument(
        "--inventory",
        type=Path,
        default=os.environ.get(ENVIRONMENT),
        metavar="FILE",
        help=f"the hosts (default: ${ENVIRONMENT})",
    )


def inventory_of(file: str | Path | None) -> Inventory:
    """The hosts to look on. Raises `UsageError` when no file was named."""
    if file is None:
        raise UsageError(
            "no inventory was named", remedy=f"give --inventory FILE, or set {ENVIRONMENT}"
        )
    return load_inventory(Path(file))


def hypervisors(inventory: Inventory, names: list[str]) -> list[str]:
    """Those that are named, or all. Raises `UsageError` for a name that is none of them."""
    known = [entry.name for entry in inventory.with_role(Role.HYPERVISOR)]
    for name in names:
        if name not in known:
            raise UsageError(f"no hypervisor {name!r}", remedy=f"one of {', '.join(known)}")
    return names or known


@contextmanager
def _source(
    inventory: Inventory, arguments: argparse.Namespace, destination: Host
) -> Iterator[Host]:
    """The host that was named, or the one that has the guest."""
    if arguments.source:
        names = hypervisors(inventory, [arguments.source])
    else:
        names = [name for name in hypervisors(inventory, []) if name != destination.name]
    with ExitStack() as stack:
        for name in names:
            host = stack.enter_context(Host(inventory.host(name)))
            if arguments.source or host.libvirt.lookup(arguments.guest) is not None:
                break
        else:
            if destination.libvirt.lookup(arguments.guest) is not None:
                words = f"{arguments.guest} is on {destination.name} already"
                raise UsageError(words, remedy="name another destination")
            raise UsageError(
                f"no guest {arguments.guest!r} on {', '.join(names) or 'any other host'}",
                remedy="name a domain that `virsh list --all` shows on a host of the inventory",
            )
        if host.name == arguments.destination:
            raise UsageError("source and destination are the same host", remedy="name another one")
        yield host


@contextmanager
def _journal(inventory: Inventory) -> Iterator[Journal]:
    journal = Journal(f"preflight-{uuid.uuid4().hex[:6]}", inventory)
    try:
        yield journal
    finally:
        journal.close()
