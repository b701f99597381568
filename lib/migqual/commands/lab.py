"""`migqual lab up|down|status|exec|logs`."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from migqual.errors import UsageError
from migqual.lab import cgroup, layout, life, state, topology
from migqual.lab.layout import LabLayout
from migqual.lab.state import LabState, Phase
from migqual.lab.topology import Topology

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

NAME = "lab"
TOPOLOGY = "default"


def register(subparsers: "Subparsers") -> None:
    command = subparsers.add_parser("lab")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=NAME, help="labs side by side (default: %(default)s)")

    start = actions.add_parser("up", parents=[named], help="build the lab, or find it up")
    add_topology(start)
    add_lanes(start, default=1)
    start.set_defaults(run=up)
    end = actions.add_parser("down", parents=[named], help="end the lab; nothing of it stays")
    end.set_defaults(run=down)
    show = actions.add_parser("status", parents=[named], help="exit code 0 if it is up, else 1")
    show.set_defaults(run=status)

    inside = actions.add_parser(
        "exec",
        parents=[named],
        help="run a command where the hosts can be reached, or on a host",
        usage="migqual lab exec [--name NAME] [--on HOST] -- COMMAND ...",
    )
    inside.add_argument("--on", metavar="HOST", help="on that host; a shell if no command is given")
    inside.add_argument("command", nargs="*", metavar="COMMAND")
    inside.set_defaults(run=execute)
    words = actions.add_parser("logs", parents=[named], help="a host's console and journal")
    words.add_argument("host", metavar="HOST")
    words.add_argument("-n", "--lines", type=_count, default=200, help="of each (default: 200)")
    words.set_defaults(run=logs)


def add_lanes(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--lanes",
        type=_count,
        default=default,
        metavar="N",
        help="so many pairs work side by side: where the topology has fewer, twins of its pairs "
        "share their tests (default: %(default)s)",
    )


def read_topology(source: str, lanes: int) -> Topology:
    """The topology `source` with twins. Raises `InventoryError` for one that cannot be built."""
    return topology.add_twins(topology.read(source), lanes)


def add_topology(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topology",
        default=TOPOLOGY,
        metavar="NAME|FILE",
        help="one of fixtures/labs, or a file (default: %(default)s)",
    )


def up(arguments: argparse.Namespace) -> int:
    wanted = read_topology(arguments.topology, arguments.lanes)
    started = time.monotonic()
    lab = life.up(wanted, arguments.name, say=say, source=arguments.topology)
    say(f"lab {arguments.name} is up after {time.monotonic() - started:.1f} s")
    print(_table(lab.layout))
    print(f"\nacceleration: {lab.acceleration}\ninventory:    {lab.inventory}\n")
    option = "" if arguments.name == NAME else f"--name {arguments.name} "
    print(f"next:  migqual run {option}".rstrip())
    for what in ("-- virsh -c qemu+ssh://HOST/system list --all", "--on HOST", "-- pytest -k NAME"):
        print(f"       migqual lab exec {option}{what}")
    print(f"       migqual lab down {option}".rstrip())
    return 0


def down(arguments: argparse.Namespace) -> int:
    layout.check_name(arguments.name)
    there = life.down(arguments.name)
    say(f"lab {arguments.name}: {'ended, nothing of it is left' if there else 'there was none'}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    layout.check_name(arguments.name)
    life.check_outside()
    phase = state.phase(arguments.name)
    others = [name for name in state.names() if name != arguments.name]
    print(f"lab {arguments.name}: {phase}")
    if phase is Phase.UP:
        known, found = state.read(arguments.name)
        print(_summary(known, found))
        print(_table(found))
    elif phase is Phase.LEFTOVER:
        print("\n".join(f"  {trace}" for trace in state.traces(arguments.name)))
        print("`migqual lab up` clears this first; `migqual lab down` clears it and no more")
    if others:
        print(f"other labs: {', '.join(others)}")
    return 0 if phase is Phase.UP else 1


def execute(arguments: argparse.Namespace) -> int:
    """Becomes the command, so that its exit code and its signals are its own."""
    found = running(arguments.name)
    if arguments.on:
        return become(found, ssh(found.host(arguments.on).name, arguments.command))
    if not arguments.command:
        named = "" if arguments.name == NAME else f"--name {arguments.name} "
        raise UsageError("lab exec: no command", remedy=f"migqual lab exec {named}-- COMMAND ...")
    return become(found, arguments.command)


def logs(arguments: argparse.Namespace) -> int:
    """The console also of a host that died, or of a lab that did."""
    _, found = state.read(arguments.name)
    host = found.host(arguments.host)
    text = host.console.read_text(errors="replace") if host.console.exists() else ""
    print(f"== console of {host.name}")
    print("\n".join(text.splitlines()[-arguments.lines :]))
    if not cgroup.processes(host.cgroup):
        print(f"== no journal: {host.name} is not running")
        return 1
    print(f"== journal of {host.name}")
    journal = ["journalctl", "--no-pager", f"--lines={arguments.lines}"]
    return become(found, ssh(host.name, journal))


def say(line: str) -> None:
    """Progress, at once and in order, also into a pipe. A reader that is gone stops nothing."""
    try:
        print(f"migqual: {line}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def ssh(host: str, argv: Sequence[str]) -> list[str]:
    """A command on a host, or a login; the lab configures ssh in its controller's namespace."""
    return ["ssh", host, *([shlex.join(argv)] if argv else [])]


def running(name: str) -> LabLayout:
    """The layout of a lab that is up. Raises `UsageError` naming what to type."""
    layout.check_name(name)
    if state.phase(name) is not Phase.UP:
        option = "" if name == NAME else f" --name {name}"
        raise UsageError(f"lab {name} is not up", remedy=f"migqual lab up{option}")
    return state.read(name)[1]


def entering(lab: LabLayout, argv: Sequence[str]) -> list[str]:
    """`argv` to be run in the namespace from which the hosts are reached."""
    return ["ip", "netns", "exec", lab.controller, *argv]


def environment(lab: LabLayout) -> dict[str, str]:
    """What a command in the lab finds in its environment, the tools of ours on its PATH."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "MIGQUAL_INVENTORY": str(lab.inventory), "PATH": path}


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a number of lines, 1 or more")
    return int(text)


def become(lab: LabLayout, argv: Sequence[str]) -> NoReturn:
    command = entering(lab, argv)
    sys.stdout.flush()
    os.execvpe(command[0], command, environment(lab))  # noqa: S606 - there is no shell


def _summary(known: LabState, lab: LabLayout) -> str:
    pairs = ", ".join(f"{pair.source} -> {pair.destination}" for pair in lab.topology.pairs)
    return (
        f"topology {known.topology}, since {known.started}, acceleration {known.acceleration}\n"
        f"pairs {pairs}; inventory {lab.inventory}"
    )


def _table(lab: LabLayout) -> str:
    head = ("host", "role", "release", "management", "migration", "service", "processes")
    rows: list[tuple[str, ...]] = [head]
    for host in lab.hosts:
        addresses = [host.addresses.get(network, "-") for network in ("mgmt", "mig", "svc")]
        processes = len(cgroup.processes(host.cgroup))
        release = str(host.spec.rootfs or host.spec.release)
        rows.append((host.name, host.spec.role, release, *addresses, str(processes)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
