"""Run `migqual COMMAND ...` and turn errors into exit codes.

0    success
1    negative result, for example: a pair does not qualify, or a host does not reply
2    bad input; standard error names the problem and the remedy
3    the lab, a host or this machine has a fault, for example a full disk, so the command says
     nothing about the hosts under test
4    only `run` and `report`: nothing failed, but results are missing or inconclusive
129  stopped by SIGHUP
130  stopped by Ctrl-C
143  stopped by SIGTERM
"""

import argparse
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import migqual
from migqual.errors import MigqualError, TroubleError, UsageError

# `migqual --help` lists the commands in this order. Only the module of the chosen command is
# imported.
COMMANDS = {
    "run": "run the suites on a lab or on your hosts, and print the verdict",
    "lab": "build, use and remove a lab, which is a set of hosts in containers on this machine",
    "inventory": "check, print or create an inventory file",
    "preflight": "check a guest and both hosts before a migration",
    "storage": "show which disks of a guest are shared or local, and the space that a copy needs",
    "predict": "predict whether and how fast a migration converges, and which settings help",
    "params": "list the migration parameters of a guest, and the defaults that openEuler documents",
    "guest": "start a test guest, run a command on this machine, and remove the guest",
    "tls": "install, check, rotate or restore certificates for encrypted migrations",
    "report": "judge the records of one or many runs; write verdict.json and index.html",
    "sweep": "remove the objects that crashed runs left on hosts, as listed in the journals",
    "bench": "measure the overhead of migqual, and the accuracy of its predictions",
}
DEBUG_VARIABLE = "MIGQUAL_DEBUG"


class StoppedBySignal(KeyboardInterrupt):
    """The program received SIGTERM or SIGHUP. The cleanup is the same as after Ctrl-C."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


def main(argv: Sequence[str] | None = None) -> int:
    """Run a migqual command and return the exit code.

    For an error of a user, a lab or a host the function prints a message on standard error and
    raises no exception.

    Args:
        argv: The command line without the program name. None means the arguments in `sys.argv`.

    Returns:
        An exit code from the list at the top of the module.
    """
    command_line = list(sys.argv[1:] if argv is None else argv)
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signal_number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(signal_number, _raise_stopped)
    if not os.environ.get(DEBUG_VARIABLE):
        # paramiko prints a traceback for every failed connection; our own message is enough
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    try:
        return _dispatch(command_line)
    except MigqualError as error:
        _print_error(error)
        if isinstance(error, UsageError):
            return 2
        return 3 if isinstance(error, TroubleError) else 1
    except StoppedBySignal as signal_error:
        _print_message(f"stopped by {signal_error}")
        return 128 + signal_error.signal_number
    except KeyboardInterrupt:
        _print_message("stopped by Ctrl-C")
        return 130
    except BrokenPipeError:  # `migqual ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # for example a full disk
        _print_error(error)
        return 3


def build_parser(command_name: str | None) -> argparse.ArgumentParser:
    """Build the argument parser of one command, or a parser for the list of all commands.

    Args:
        command_name: A key of `COMMANDS`. The function imports the module of the command. With
            None, the parser has only the names and help texts of all commands.
    """
    parser = argparse.ArgumentParser(
        prog="migqual",
        description="Tests live migration between libvirt/QEMU hosts, and judges each host pair.",
        epilog=f"Set {DEBUG_VARIABLE}=1 to print the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=f"migqual {migqual.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    if command_name is None:
        for name, help_text in COMMANDS.items():
            subparsers.add_parser(name, help=help_text)
        return parser
    module = importlib.import_module(f"migqual.commands.{command_name}")
    if command_name == "inventory":
        inventory_check = importlib.import_module("migqual.readiness.inventory_check")
        module.register(subparsers, inventory_check.check_inventory_hosts)
    else:
        module.register(subparsers)
    return parser


def _dispatch(command_line: list[str]) -> int:
    command_name = command_line[0] if command_line and command_line[0] in COMMANDS else None
    parser = build_parser(command_name)
    arguments, extra_arguments = parser.parse_known_args(command_line)
    if command_name is None:
        parser.error(f"write the command before the options: {' '.join(command_line)}")
    if hasattr(arguments, "pytest"):
        arguments.pytest = [argument for argument in extra_arguments if argument != "--"]
    elif extra_arguments:
        parser.error(f"unrecognized arguments: {' '.join(extra_arguments)}")
    status: int = arguments.run(arguments)
    return status


def _print_error(error: Exception) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    _print_message(str(error))


def _print_message(message: str) -> None:
    """Print `message` on standard error. If standard error is closed, print nothing."""
    with suppress(BrokenPipeError):
        print(f"migqual: {message}", file=sys.stderr, flush=True)


def _raise_stopped(signal_number: int, _frame: FrameType | None) -> NoReturn:
    """Raise `StoppedBySignal`, which ends the command. Ignore every later SIGTERM and SIGHUP.

    A second signal must not disturb the cleanup.
    """
    for handled_signal in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(handled_signal, signal.SIG_IGN)
    raise StoppedBySignal(signal_number)


if __name__ == "__main__":
    sys.exit(main())
