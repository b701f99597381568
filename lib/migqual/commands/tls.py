"""`migqual tls install|check|rotate|restore`: certificates of encrypted migrations on hosts."""

import argparse
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import places, sweep
from migqual.commands import _move as move
from migqual.commands import preflight
from migqual.commands.lab import say
from migqual.errors import UsageError
from migqual.hosts import journal
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.model.finding import Severity
from migqual.model.inventory import Inventory, Role
from migqual.tls import check, identity
from migqual.tls.authority import Authority
from migqual.tls.identity import Identity

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

TAG = "mq-tls"  # names what was moved aside on hosts
CERTIFICATE, KEY = "authority.pem", "authority-key.pem"


def register(subparsers: "Subparsers") -> None:
    command = subparsers.add_parser(
        "tls",
        help="certificates of encrypted migrations: install, check, rotate, restore",
        description="Certificates of an authority of this controller's own, for the hypervisors of "
        "an inventory. What was there before is kept on the hosts until `restore`.",
    )
    actions = command.add_subparsers(metavar="ACTION", required=True)
    kinds: tuple[tuple[str, str, Callable[[argparse.Namespace], int]], ...] = (
        ("install", "issue certificates, install them, and turn peer verification on", _install),
        (
            "check",
            "say what is wrong with those that are there; exit code 1 if anything is",
            _check,
        ),
        (
            "rotate",
            "issue and install new ones of the same authority; nothing is restarted",
            _rotate,
        ),
        ("restore", "put back what was there before `install`", _restore),
    )
    for name, words, run in kinds:
        action = actions.add_parser(name, help=words, description=words)
        move.add_inventory(action)
        if name == "check":
            action.add_argument("--json", action="store_true", help="print the findings as JSON")
        action.add_argument("names", nargs="*", metavar="HOST", help="only these")
        action.set_defaults(run=run)


def _install(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    with _alone(inventory) as folder, _identities(inventory, arguments.names, folder) as identities:
        authority = _stored(folder) or _new(folder)
        for one in identities:
            one.install(authority.files(identity.names_of(one.host)))
            one.configure(migrate_tls_x509_verify=1)
            say(f"{one.host.name}: certificates in {one.folder}, peers are verified")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    with _alone(inventory) as folder:
        authority = _stored(folder)
        if authority is None:
            raise UsageError("nothing of ours is installed", remedy="`migqual tls install` first")
        with _identities(inventory, arguments.names, folder) as identities:
            for one in identities:
                one.install(authority.files(identity.names_of(one.host)))
                say(f"{one.host.name}: new certificates in {one.folder}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    with _hosts(inventory, arguments.names) as hosts:
        facts = [check.collect(host) for host in hosts]
    found = [finding for one in facts for finding in check.findings(one)]
    if len(facts) > 1:
        found.append(check.agree(facts))
    print(preflight.as_json(found) if arguments.json else preflight.as_table(found))
    return 1 if any(finding.verdict is Severity.REFUSED for finding in found) else 0


def _restore(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    names = _known(inventory, arguments.names)
    with _alone(inventory) as folder:
        if not journal.files(folder):
            say("nothing of ours is installed")
        clean = True
        for file in journal.files(folder):
            with journal.orphaned(file) as remains:
                clean = remains is not None and sweep.sweep(remains, say, names) and clean
        if not journal.files(folder):  # others still have certificates of ours
            for name in (CERTIFICATE, KEY):
                (folder / name).unlink(missing_ok=True)
    return 0 if clean else 1


def _known(inventory: Inventory, names: list[str]) -> list[str]:
    """The hypervisors that are named, or all of them."""
    known = [entry.name for entry in inventory.with_role(Role.HYPERVISOR)]
    for name in names:
        if name not in known:
            raise UsageError(f"no hypervisor {name!r}", remedy=f"one of {', '.join(known)}")
    return names or known


@contextmanager
def _hosts(inventory: Inventory, names: list[str]) -> Iterator[list[Host]]:
    known = _known(inventory, names)
    with ExitStack() as stack:
        yield [stack.enter_context(Host(inventory.host(name))) for name in known]


@contextmanager
def _identities(inventory: Inventory, names: list[str], folder: Path) -> Iterator[list[Identity]]:
    # what it names stays until `restore`, and process ids come again
    kept = Journal(f"tls-{uuid.uuid4().hex[:8]}", inventory, folder)
    try:
        with _hosts(inventory, names) as hosts:
            yield [Identity(host, kept, TAG) for host in hosts]
    finally:
        kept.close()


@contextmanager
def _alone(inventory: Inventory) -> Iterator[Path]:
    """Where the authority and the journals of an inventory are kept; its owner's alone, and one
    command's at a time: one that restores takes the authority from no other that installs."""
    key = hashlib.sha256(str(inventory.file and inventory.file.absolute()).encode()).hexdigest()
    folder = places.state() / "tls" / key[:16]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _stored(folder: Path) -> Authority | None:
    if not (folder / KEY).is_file():
        return None
    return Authority.of((folder / CERTIFICATE).read_bytes(), (folder / KEY).read_bytes())


def _new(folder: Path) -> Authority:
    authority = Authority()
    (folder / CERTIFICATE).write_bytes(authority.certificate)
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_bytes(authority.key)
    return authority
