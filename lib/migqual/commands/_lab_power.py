"""`migqual lab power on|off HOST`: switch a host of a lab off, as a power failure does, or on."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from migqual.lab import power, state
from migqual.lab.machine_check import check_outside_lab

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name


def add_power_parser(actions: "Subparsers", name_option: argparse.ArgumentParser) -> None:
    """Add the action `power`."""
    parser = actions.add_parser(
        "power",
        parents=[name_option],
        help="switch a host of the lab off, as a power failure does, or on again",
    )
    parser.add_argument("action", choices=["off", "on"])
    parser.add_argument("host", metavar="HOST", help="name of a host of the lab")
    parser.set_defaults(run=run_power)


def run_power(arguments: argparse.Namespace) -> int:
    """Switch a host of the lab off or on.

    A process inside a lab cannot see the control groups of the hosts. If migqual runs inside a
    lab, the function starts the same command again outside every lab. The command replaces the
    migqual process, so the function does not return.
    """
    if state.find_current_namespace() is not None:
        _exec_outside_lab(sys.argv)
    switch = {"off": power.power_off, "on": power.power_on}[arguments.action]
    switch(arguments.name, arguments.host)
    print(f"migqual: lab {arguments.name}: host {arguments.host} is {arguments.action}")
    return 0


def _exec_outside_lab(argv: Sequence[str]) -> NoReturn:
    """Replace the migqual process by the command `argv`, which runs outside every lab.

    The command runs in the mount and network namespaces of the nearest ancestor process of
    migqual (parent, parent of the parent, and so on) that is outside every lab.

    Raises:
        UsageError: All ancestor processes run inside a lab.
    """
    pid = state.find_outside_ancestor()
    if pid is None:
        check_outside_lab()
    os.execvp("nsenter", ["nsenter", f"--target={pid}", "--mount", "--net", "--", *argv])  # noqa: S606
