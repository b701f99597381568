"""`migqual COMMAND ...`: finds the command, runs it, turns errors into exit codes.

0    done, and all is well
1    done, and something does not qualify, answer or suffice
2    bad input: what is wrong and what to do, on standard error
3    the lab or a host broke; says nothing about the hosts under test
130  stopped by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP
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

# In the order of `migqual --help`. The module of a command is imported when the command is chosen.
COMMANDS = {
    "run": "run the suites on a lab or on your hosts, and say the verdict",
    "lab": "real hosts in namespaces of this machine",
    "inventory": "check, show or make an inventory file",
    "preflight": "look before you move: would this guest reach that host unharmed?",
    "storage": "tell shared disks from local ones, and what a copy would take",
    "predict": "foretell whether a guest converges, how long it takes, and what to set",
    "params": "list the migration parameters of a guest beside the documented defaults",
    "guest": "start a guest, run a command, and remove the guest again",
    "tls": "certificates of encrypted migrations: install, check, rotate, restore",
    "report": "judge the records of one or many runs; write verdict.json and index.html",
    "sweep": "remove from hosts what a run that died left there, as its journal says",
    "bench": "measure what migqual costs",
}
DEBUG = "MIGQUAL_DEBUG"


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP. Cleans up like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; never raises for what a user, a lab or a host can do wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, _stop)
    if not os.environ.get(DEBUG):
        # it prints the traceback of every connection that fails; ours says what failed
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    try:
        return _dispatch(words)
    except MigqualError as error:
        _explain(error)
        if isinstance(error, UsageError):
            return 2
        return 3 if isinstance(error, TroubleError) else 1
    except Stopped as stopped:
        _tell(f"stopped by {stopped}")
        return 128 + stopped.number
    except KeyboardInterrupt:
        _tell("stopped")
        return 130
    except BrokenPipeError:  # `migqual ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _explain(error)
        return 1


def parser(chosen: str | None) -> argparse.ArgumentParser:
    """Build the parser with the whole command `chosen`, or with the names of all commands."""
    found = argparse.ArgumentParser(
        prog="migqual",
        description="Says whether pairs of hosts may be trusted with live migration.",
        epilog=f"{DEBUG}=1 shows where an error came from.",
    )
    found.add_argument("--version", action="version", version=f"migqual {migqual.__version__}")
    subparsers = found.add_subparsers(metavar="COMMAND", required=True)
    if chosen is None:
        for name, words in COMMANDS.items():
            subparsers.add_parser(name, help=words)
        return found
    module = importlib.import_module(f"migqual.commands.{chosen}")
    if chosen == "inventory":
        reach = importlib.import_module("migqual.hosts.reach")
        module.register(subparsers, reach.connect)
    else:
        module.register(subparsers)
    return found


def _dispatch(words: list[str]) -> int:
    chosen = words[0] if words and words[0] in COMMANDS else None
    found = parser(chosen)
    arguments, more = found.parse_known_args(words)
    if chosen is None:
        found.error(f"the command comes first: {' '.join(words)}")
    if hasattr(arguments, "pytest"):
        arguments.pytest = [word for word in more if word != "--"]
    elif more:
        found.error(f"unrecognized arguments: {' '.join(more)}")
    status: int = arguments.run(arguments)
    return status


def _explain(error: Exception) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    _tell(str(error))


def _tell(words: str) -> None:
    """On standard error; the exit code stays what it is when nobody reads there any more."""
    with suppress(BrokenPipeError):
        print(f"migqual: {words}", file=sys.stderr, flush=True)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """The first signal unwinds the command; a second one does not disturb the cleaning up."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


if __name__ == "__main__":
    sys.exit(main())
