"""`migqual tls install|check|rotate|restore`: certificates of encrypted migrations on hosts."""

import argparse
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from migqual.hosts.lease import leased
from migqual.model.finding import Severity
from migqual.model.inventory import Inventory, Tier
from migqual.tls import check, identity
from migqual.tls.authority import Authority
from migqual.tls.identity import Identity

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

TAG = "mq-tls"
LEASE_SECONDS = 10.0
CERTIFICATE, KEY = "authority.pem", "authority-key.pem"


def register(subparsers: "Subparsers") -> None:
    command = subparsers.add_parser(
        "tls",
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
    names = move.hypervisors(inventory, arguments.names)
    with _alone(inventory, names) as kept, _identities(inventory, names, kept) as identities:
        authority = _stored(kept.folder) or _new(kept.folder)
        for one in identities:
            one.install(authority.files(identity.names_of(one.host)))
            one.configure(migrate_tls_x509_verify=1)
            say(f"{one.host.name}: certificates in {one.folder}, peers are verified")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    names = move.hypervisors(inventory, arguments.names)
    with _alone(inventory, names) as kept:
        authority, there = _stored(kept.folder), kept.hosts()
        chosen = [name for name in names if name in there or arguments.names]
        bare = [name for name in chosen if name not in there]
        if authority is None or bare or not chosen:
            where = f" on {', '.join(bare)}" if bare else ""
            raise UsageError(
                f"nothing of ours is installed{where}", remedy="`migqual tls install` first"
            )
        with _identities(inventory, chosen, kept) as identities:
            for one in identities:
                one.install(authority.files(identity.names_of(one.host)))
                say(f"{one.host.name}: new certificates in {one.folder}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    with _hosts(inventory, move.hypervisors(inventory, arguments.names)) as hosts:
        facts = [check.collect(host) for host in hosts]
    found = [finding for one in facts for finding in check.findings(one)]
    if len(facts) > 1:
        found.append(check.agree(facts))
    print(preflight.as_json(found) if arguments.json else preflight.as_table(found))
    return 1 if any(finding.verdict is Severity.REFUSED for finding in found) else 0


def _restore(arguments: argparse.Namespace) -> int:
    inventory = move.inventory_of(arguments.inventory)
    names = move.hypervisors(inventory, arguments.names)
    with _alone(inventory, names) as kept:
        if not kept.hosts():
            say(_nothing(kept))
        clean = True
        for file in journal.files(kept.folder):
            with journal.orphaned(file) as remains:
                # without a name also what is on hosts that the inventory no longer has
                clean = remains is not None and sweep.sweep(remains, say, arguments.names) and clean
        if not journal.files(kept.folder):  # others still have certificates of ours
            for name in (CERTIFICATE, KEY):
                (kept.folder / name).unlink(missing_ok=True)
    return 0 if clean else 1


def _nothing(kept: "_Kept") -> str:
    """An inventory that was moved is another one: where ours are is told."""
    others = {
        str(journal.read(file, file.read_text(encoding="utf-8")).inventory)
        for folder in kept.folder.parent.iterdir()
        for file in journal.files(folder)
    }
    elsewhere = f"; there is for {', '.join(sorted(others))}" if others else ""
    return f"nothing of ours is installed{elsewhere}"


@contextmanager
def _hosts(inventory: Inventory, names: list[str]) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Host(inventory.host(name))) for name in names]


@dataclass(frozen=True)
class _Kept:
    """Where the authority and the journals of an inventory are kept; its owner's alone.

    tag    names what was moved aside on hosts: another state, or another inventory, has another
    """

    folder: Path

    @property
    def tag(self) -> str:
        return f"{TAG}-{self.folder.name[:8]}"

    def hosts(self) -> set[str]:
        """Hosts that have something of ours."""
        read = [
            journal.read(file, file.read_text(encoding="utf-8"))
            for file in journal.files(self.folder)
        ]
        return {made.host for remains in read for made in remains.outstanding}


@contextmanager
def _identities(inventory: Inventory, names: list[str], kept: _Kept) -> Iterator[list[Identity]]:
    # what it names stays until `restore`, and process ids come again
    written = Journal(f"tls-{uuid.uuid4().hex[:8]}", inventory, kept.folder)
    try:
        with _hosts(inventory, names) as hosts:
            yield [Identity(host, written, kept.tag) for host in hosts]
    finally:
        written.close()


@contextmanager
def _alone(inventory: Inventory, names: list[str]) -> Iterator[_Kept]:
    """One command at a time: one that restores takes the authority from no other that installs.
    And no run of the suites on these hosts meanwhile."""
    state, file = places.state().absolute(), inventory.file and inventory.file.absolute()
    named = hashlib.sha256(f"{state} {file}".encode()).hexdigest()[:16]
    # a lab takes its hosts with it, and so what is known of them
    home = file.parent if file is not None and inventory.tier is Tier.LAB else state
    folder = home / "tls" / named
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with leased(inventory, names, seconds=LEASE_SECONDS):
            yield _Kept(folder)
    finally:
        os.close(descriptor)


def _stored(folder: Path) -> Authority | None:
    if not (folder / KEY).is_file():
        return None
    try:
        return Authority.of((folder / CERTIFICATE).read_bytes(), (folder / KEY).read_bytes())
    except ValueError as error:
        raise UsageError(
            f"{folder}: the authority kept there cannot be used: {error}",
            remedy="`migqual tls restore`, then `migqual tls install`",
        ) from error


def _new(folder: Path) -> Authority:
    """The key gets its name last: what has one is whole."""
    authority = Authority()
    (folder / CERTIFICATE).write_bytes(authority.certificate)
    half = folder / f"{KEY}.new"
    half.touch(mode=0o600)
    half.write_bytes(authority.key)
    half.rename(folder / KEY)
    return authority
