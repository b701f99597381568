"""`migqual guest [-- COMMAND]`: a guest to try things on; it goes when the command ends."""

import argparse
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from migqual.bench.rig import rig
from migqual.commands import _move as move
from migqual.commands.lab import say
from migqual.errors import UsageError
from migqual.model.guest import DiskSpec, GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.inventory import StoreKind

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

NAME = "MIGQUAL_GUEST"
ROOM_MIB = 128  # for the guest's own kernel and programs
DISKS = {"none": None, "shared": StoreKind.DIRECTORY, "local": StoreKind.LOCAL}


def register(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser(
        "guest",
        usage="migqual guest [options] [-- COMMAND ...]",
        description="On the source of the inventory's first pair, as the suites make them: memory "
        f"that can be verified, and a disk that is written to. COMMAND (default: a shell) has its "
        f"name where it says GUEST, and in ${NAME}. The exit code is the command's.",
        allow_abbrev=False,
    )
    move.add_inventory(parser)
    parser.add_argument("--memory", type=int, default=256, metavar="MIB", help="(%(default)s)")
    parser.add_argument(
        "--rate", type=int, default=0, metavar="MIB_S", help="memory that it changes (%(default)s)"
    )
    parser.add_argument(
        "--set", type=int, default=32, metavar="MIB", help="memory it keeps changing (%(default)s)"
    )
    parser.add_argument(
        "--pattern", choices=[str(one) for one in Pattern], default="random", help="(%(default)s)"
    )
    parser.add_argument("--disk", choices=DISKS, default="shared", help="(%(default)s)")
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start it, run the command, remove it; the command's exit code."""
    spec = _spec(arguments)
    inventory = move.inventory_of(arguments.inventory)
    command = arguments.command or [os.environ.get("SHELL") or "sh"]
    if shutil.which(command[0]) is None:
        raise UsageError(f"{command[0]}: no such command", remedy="COMMAND runs here, not a guest")
    with rig(inventory) as on, on.provision.guest(spec, on.source, on.destination) as guest:
        say(f"{guest.name} runs on {on.source.name} until {command[0]} ends")
        environment = os.environ | {
            NAME: guest.name,
            move.ENVIRONMENT: str(Path(arguments.inventory).absolute()),
        }
        words = [guest.name if word == "GUEST" else word for word in command]
        with _ctrl_c_is_the_commands():
            try:
                return subprocess.run(words, env=environment, check=False).returncode
            except OSError as error:
                raise UsageError(f"{command[0]}: {error.strerror}") from error


@contextmanager
def _ctrl_c_is_the_commands() -> Iterator[None]:
    """It gets the signal too; when it ends of it, the guest goes, and not before."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _spec(arguments: argparse.Namespace) -> GuestSpec:
    for name, least in (("memory", 1), ("set", 1), ("rate", 0)):
        if (value := getattr(arguments, name)) < least:
            raise UsageError(f"--{name} {value}", remedy=f"give {least} or more")
    if arguments.set > arguments.memory - ROOM_MIB:
        least = arguments.set + ROOM_MIB
        raise UsageError(
            f"{arguments.set} MiB do not fit into a guest of {arguments.memory} MiB",
            remedy=f"give it at least --memory {least}",
        )
    memory = MemoryLoad(arguments.set, arguments.rate, Pattern(arguments.pattern))
    store = DISKS[arguments.disk]
    spec = GuestSpec(memory_mib=arguments.memory, load=Load("asked", memory=memory))
    return spec if store is None else replace(spec, disks=(DiskSpec(store),))
