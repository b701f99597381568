"""`migqual sweep`: work off the journals of runs that died."""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import places, sweep
from migqual.commands.lab import say
from migqual.errors import UsageError
from migqual.hosts import journal
from migqual.hosts.host import remove_dead_folders
from migqual.hosts.journal import Remains
from migqual.lab import layout, state

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

LAB = "lab"


def register(subparsers: "Subparsers") -> None:
    command = subparsers.add_parser(
        "sweep",
        description="Exit code 1 when something had to stay, e.g. on a host that is away.",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be removed; connects to nothing, and the exit code is 0",
    )
    command.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="HOST",
        help="give up on what journals name on that host, for one that will not come back; says "
        "what may still be there, and the commands that would remove it or put it back",
    )
    command.add_argument("journals", nargs="*", type=Path, metavar="JOURNAL", help="only these")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    remove_dead_folders()
    found = list(dict.fromkeys(map(_found, arguments.journals))) or journal.files()
    if arguments.forget and arguments.dry_run:
        raise UsageError("--dry-run and --forget exclude each other", remedy="leave one out")
    _forget(found, arguments.forget)
    if not found:
        print("migqual: no journals: nothing was left on any host")
    return 0 if work_off(found, dry_run=arguments.dry_run) else 1


def _found(file: Path) -> Path:
    """A file, or one of those whose names sweep tells. Raises `UsageError` for any other."""
    known = places.state() / "journal"
    for place in (file, known / file):
        if place.is_file():
            break
    else:
        raise UsageError(f"{file}: no such journal", remedy=f"see {known}")
    if not journal.read(place, place.read_text(encoding="utf-8", errors="replace")).run:
        raise UsageError(f"{file}: not a journal", remedy=f"see {known}")
    return place


def _forget(files: Iterable[Path], hosts: list[str]) -> None:
    """Strike out what the journals of dead runs name on those hosts. Raises `UsageError` for a host
    that none of them names."""
    unknown = set(hosts)
    for file in files:
        with journal.orphaned(file) as remains:
            if remains is None:
                continue
            for made in remains.outstanding:
                if made.host in hosts:
                    unknown.discard(made.host)
                    remains.removed(made)
                    by_hand = "; ".join(shlex.join(argv) for argv in made.undo)
                    say(f"{file.name}: gave up {sweep.describe(made)}; by hand: {by_hand}")
    if unknown:
        raise UsageError(
            f"no journal of a dead run names {', '.join(sorted(unknown))}",
            remedy="`migqual sweep --dry-run` says what they name",
        )


def of_inventory(inventory: Path) -> list[Path]:
    """The journals of runs on the hosts of that inventory file."""
    wanted = inventory.absolute()
    found = []
    for file in journal.files():
        with journal.orphaned(file) as remains:
            if remains is not None and remains.inventory == wanted:
                found.append(file)
    return found


def work_off(files: Iterable[Path], *, dry_run: bool = False) -> bool:
    """Sweep each; True when nothing had to stay."""
    clean = [_one(file, dry_run=dry_run) for file in files]
    return all(clean)


def _one(file: Path, *, dry_run: bool) -> bool:
    with journal.orphaned(file) as remains:
        if remains is None:
            say(f"{file.name}: its run lives, left alone")
            return True
        if remains.outstanding and _lab_is_gone(remains):
            say(f"{file.name}: the lab is gone, and with it all that was on it")
            if not dry_run:
                remains.drop()
            return True
        namespace = _namespace_to_enter(remains)
        if namespace is None:
            return _work_off(remains, dry_run=dry_run)
    # the lock is free again: the process that can reach the hosts takes it
    command = [sys.executable, "-m", "migqual.cli", "sweep", *["--dry-run"][: int(dry_run)]]
    entered = ["ip", "netns", "exec", namespace, *command, str(file)]
    return subprocess.run(entered, check=False).returncode == 0


def _work_off(remains: Remains, *, dry_run: bool) -> bool:
    name = remains.file.name
    if dry_run:
        for made in remains.outstanding:
            say(f"{name}: would remove {sweep.describe(made)}")
        return True
    try:
        return sweep.sweep(remains, lambda words: say(f"{name}: {words}"))
    except UsageError as error:
        say(f"{name}: all kept, its inventory cannot be used: {error}")
        return False


def _lab_is_gone(remains: Remains) -> bool:
    """A lab takes everything on its hosts with it; nothing is left to reach or to remove."""
    if remains.tier != LAB:
        return False
    if not remains.inventory.exists():
        return True
    return _is_of_a_lab_here(remains) and not _namespace(remains).exists()


def _namespace_to_enter(remains: Remains) -> str | None:
    """The namespace from which the hosts can be reached, unless that is where we are."""
    if not remains.outstanding or remains.tier != LAB or not _is_of_a_lab_here(remains):
        return None
    namespace = _namespace(remains).name
    return None if state.entered() == namespace else namespace


def _is_of_a_lab_here(remains: Remains) -> bool:
    return remains.inventory.parent.parent == places.labs()


def _namespace(remains: Remains) -> Path:
    return state.NAMESPACES / layout.namespace(remains.inventory.parent.name, layout.CONTROLLER)
