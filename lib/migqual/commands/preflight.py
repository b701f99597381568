"""`migqual preflight GUEST DESTINATION`: what stands between a guest and its migration."""

import argparse
import json
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import fill

from migqual import places
from migqual.errors import MigqualError, UsageError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.image.payload import ensure_payload
from migqual.model.finding import Finding, Severity
from migqual.model.inventory import Inventory, Role
from migqual.model.inventory_file import load_inventory
from migqual.model.plan import Control, Plan, StorageCopy
from migqual.preflight.run import preflight
from migqual.preflight.tools import Probes, staged

ENVIRONMENT = "MIGQUAL_INVENTORY"
_WIDTH = 100
_BAD = {Severity.REFUSED, Severity.UNKNOWN}


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "preflight",
        help="look before you move: would this guest reach that host unharmed?",
        description="Exit code 0 when all is ok or a warning, 1 when something is refused or "
        "unknown, 2 on bad input.",
    )
    parser.add_argument("guest", metavar="GUEST", help="name of a domain, ours or not")
    parser.add_argument("destination", metavar="DESTINATION", help="a host of the inventory")
    parser.add_argument(
        "--inventory",
        type=Path,
        default=os.environ.get(ENVIRONMENT),
        metavar="FILE",
        help=f"the hosts (default: ${ENVIRONMENT})",
    )
    parser.add_argument(
        "--source", metavar="HOST", help="where the guest is (default: it is looked for)"
    )
    parser.add_argument(
        "--control",
        choices=[str(one) for one in Control],
        default=str(Control.PEER_TO_PEER),
        help="who drives the migration (default: %(default)s)",
    )
    parser.add_argument(
        "--copy-storage",
        choices=[str(one) for one in StorageCopy],
        default=str(StorageCopy.NONE),
        help="what the migration copies of the disks (default: %(default)s)",
    )
    parser.add_argument(
        "--write-probes",
        action="store_true",
        help="write a token beside the guest's images for a moment, and question QEMU itself, "
        "which libvirt notes as tainting the domain; without it nothing of the guest is touched",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, print, and say whether anything refuses."""
    try:
        findings = _findings(arguments)
    except UsageError as error:
        print(f"migqual preflight: {error}", file=sys.stderr)
        return 2
    except MigqualError as error:
        print(f"migqual preflight: {error}", file=sys.stderr)
        return 1
    print(as_json(findings) if arguments.json else as_table(findings))
    return 1 if any(one.verdict in _BAD for one in findings) else 0


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects: id, verdict, words, figures, remedy."""
    keys = ("id", "verdict", "words", "remedy")
    plain = [
        {key: getattr(one, key) for key in keys} | {"figures": dict(one.figures)}
        for one in findings
    ]
    return json.dumps(plain, indent=2)


def as_table(findings: Sequence[Finding]) -> str:
    """One line per finding, its remedy below it; the counts at the end."""
    wide = max(len(one.id) for one in findings)
    lines = []
    for one in findings:
        head = f"{one.verdict:<8} {one.id:<{wide}}  "
        rest = " " * len(head)
        lines.append(fill(one.words, _WIDTH, initial_indent=head, subsequent_indent=rest))
        if one.remedy:
            first = f"{rest}-> "
            lines.append(
                fill(one.remedy, _WIDTH, initial_indent=first, subsequent_indent=f"{rest}   ")
            )
    counts = {kind: sum(one.verdict is kind for one in findings) for kind in Severity}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return "\n".join([*lines, told])


def _findings(arguments: argparse.Namespace) -> tuple[Finding, ...]:
    inventory = _inventory(arguments.inventory)
    plan = Plan(
        control=Control(arguments.control), copy_storage=StorageCopy(arguments.copy_storage)
    )
    probes = Probes.WRITING if arguments.write_probes else Probes.READ_ONLY
    with ExitStack() as stack:
        destination = stack.enter_context(Host(inventory.host(arguments.destination)))
        source = stack.enter_context(_source(inventory, arguments))
        journal = stack.enter_context(_journal(inventory))
        payload = ensure_payload(places.cache(), lambda words: print(words, file=sys.stderr))
        tools = stack.enter_context(staged((source, destination), journal, payload, probes))
        return preflight(arguments.guest, source, destination, tools, plan)


def _inventory(file: str | Path | None) -> Inventory:
    if file is None:
        raise UsageError(
            "no inventory was named", remedy=f"give --inventory FILE, or set {ENVIRONMENT}"
        )
    return load_inventory(Path(file))


@contextmanager
def _source(inventory: Inventory, arguments: argparse.Namespace) -> Iterator[Host]:
    """The host that was named, or the one that has the guest."""
    names = [arguments.source] if arguments.source else _candidates(inventory, arguments)
    with ExitStack() as stack:
        for name in names:
            host = stack.enter_context(Host(inventory.host(name)))
            if arguments.source or host.libvirt.lookup(arguments.guest) is not None:
                break
        else:
            raise UsageError(
                f"no guest {arguments.guest!r} on {', '.join(names) or 'any other host'}",
                remedy="name a domain that `virsh list --all` shows on a host of the inventory",
            )
        if host.name == arguments.destination:
            raise UsageError("source and destination are the same host", remedy="name another one")
        yield host


def _candidates(inventory: Inventory, arguments: argparse.Namespace) -> list[str]:
    hosts = inventory.with_role(Role.HYPERVISOR)
    return [host.name for host in hosts if host.name != arguments.destination]


@contextmanager
def _journal(inventory: Inventory) -> Iterator[Journal]:
    journal = Journal(f"preflight-{uuid.uuid4().hex[:6]}", inventory)
    try:
        yield journal
    finally:
        journal.close()
