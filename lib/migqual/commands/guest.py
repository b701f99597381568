"""`migqual guest [-- COMMAND]`: start a test guest, run a command, then remove the guest."""

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

from migqual.commands import _common_arguments as common_arguments
from migqual.commands.lab import print_progress
from migqual.errors import UsageError
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestLoad, GuestSpec, MemoryLoad, WritePattern
from migqual.testbed.connection import connect_testbed

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

GUEST_VARIABLE = "MIGQUAL_GUEST"
SYSTEM_MEMORY_MIB = 128  # for the guest's own kernel and programs
DISK_STORES = {"none": None, "shared": StoreKind.DIRECTORY, "local": StoreKind.LOCAL}


def register(subparsers: "Subparsers") -> None:
    """Add the command `guest`."""
    parser = subparsers.add_parser(
        "guest",
        usage="migqual guest [options] [-- COMMAND ...]",
        description="Starts a guest with a load on the source of the first pair of the inventory, "
        "runs COMMAND (default: a shell) on this machine, and removes the guest. migqual replaces "
        "the word GUEST in COMMAND by the name of the guest. The environment variable "
        f"{GUEST_VARIABLE} also contains the name. "
        "The exit code is the exit code of COMMAND.",
        allow_abbrev=False,
    )
    common_arguments.add_inventory_option(parser)
    parser.add_argument(
        "--memory",
        type=int,
        default=256,
        metavar="MIB",
        help="memory of the guest in MiB (default: %(default)s)",
    )
    parser.add_argument(
        "--dirty-rate",
        type=int,
        default=0,
        metavar="MIB_S",
        help="memory that the guest dirties, in MiB per second (default: %(default)s)",
    )
    parser.add_argument(
        "--working-set",
        type=int,
        default=32,
        metavar="MIB",
        help="size in MiB of the memory that the guest writes again and again "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--pattern",
        choices=[str(pattern) for pattern in WritePattern],
        default="random",
        help="order in which the guest writes its memory (default: %(default)s)",
    )
    parser.add_argument(
        "--disk",
        choices=DISK_STORES,
        default="shared",
        help="disk of the guest: no disk (none), an image in a shared directory (shared), or an "
        "image in a directory of the source (local) (default: %(default)s)",
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start the test guest, run the user's command (`COMMAND`), and remove the guest.

    Returns:
        The exit code of COMMAND.

    Raises:
        UsageError: An option is out of range, or the program of COMMAND does not exist.
    """
    spec = _build_guest_spec(arguments)
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    command = arguments.command or [os.environ.get("SHELL") or "sh"]
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"{command[0]}: no such command on this machine",
            remedy="give a command that exists on this machine; COMMAND does not run in the guest",
        )
    with (
        connect_testbed(inventory) as testbed,
        testbed.running_guest(spec) as guest,
    ):
        print_progress(f"guest {guest.name} runs on {testbed.source.name} until {command[0]} ends")
        environment = os.environ | {
            GUEST_VARIABLE: guest.name,
            common_arguments.INVENTORY_VARIABLE: str(Path(arguments.inventory).absolute()),
        }
        command_line = [guest.name if argument == "GUEST" else argument for argument in command]
        with _leave_ctrl_c_to_command():
            try:
                return subprocess.run(command_line, env=environment, check=False).returncode
            except OSError as error:
                raise UsageError(f"{command[0]}: {error.strerror}") from error


@contextmanager
def _leave_ctrl_c_to_command() -> Iterator[None]:
    """Ignore Ctrl-C in migqual while the block runs the user's command (`COMMAND`).

    Only COMMAND reacts to Ctrl-C. migqual continues, and removes the test guest after COMMAND has
    ended.
    """
    previous_handler = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous_handler)


def _build_guest_spec(arguments: argparse.Namespace) -> GuestSpec:
    for name, minimum in (("memory", 1), ("working-set", 1), ("dirty-rate", 0)):
        if (value := getattr(arguments, name.replace("-", "_"))) < minimum:
            raise UsageError(f"--{name} {value} is too small", remedy=f"give {minimum} or more")
    if arguments.working_set > arguments.memory - SYSTEM_MEMORY_MIB:
        minimum = arguments.working_set + SYSTEM_MEMORY_MIB
        raise UsageError(
            f"a working set of {arguments.working_set} MiB does not fit into a guest with "
            f"{arguments.memory} MiB of memory",
            remedy=f"give --memory {minimum} or more, because the operating system of the guest "
            f"needs {SYSTEM_MEMORY_MIB} MiB",
        )
    memory = MemoryLoad(
        arguments.working_set, arguments.dirty_rate, WritePattern(arguments.pattern)
    )
    store_kind = DISK_STORES[arguments.disk]
    spec = GuestSpec(memory_mib=arguments.memory, load=GuestLoad("custom", memory=memory))
    return spec if store_kind is None else replace(spec, disks=(DiskSpec(store_kind),))
