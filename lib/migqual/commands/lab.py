"""`migqual lab up|down|status|power|exec|logs`: build, use and remove a lab on this machine."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from migqual.architecture import Architecture
from migqual.commands import _lab_power
from migqual.errors import UsageError
from migqual.lab import cgroup, layout, lifecycle, state, topology
from migqual.lab.layout import LabLayout
from migqual.lab.machine_check import check_outside_lab
from migqual.lab.state import LabPhase, LabState
from migqual.lab.topology import Topology

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

DEFAULT_LAB_NAME = "lab"
DEFAULT_TOPOLOGY = "default"


def register(subparsers: "Subparsers") -> None:
    """Add the command `lab` with a parser for each action."""
    parser = subparsers.add_parser(
        "lab",
        description="Builds, uses and removes a lab. The hosts of a lab run in namespaces of this "
        "machine. Each hypervisor has its own libvirt and QEMU.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    name_option = argparse.ArgumentParser(add_help=False)
    name_option.add_argument(
        "--name",
        default=DEFAULT_LAB_NAME,
        help="name of the lab; several labs can be up at the same time (default: %(default)s)",
    )

    up_parser = actions.add_parser(
        "up", parents=[name_option], help="build the lab, unless the lab is already up"
    )
    add_topology_option(up_parser)
    add_lanes_option(up_parser, default=1)
    add_guest_option(up_parser)
    up_parser.set_defaults(run=run_up)
    down_parser = actions.add_parser("down", parents=[name_option], help="remove the lab")
    down_parser.set_defaults(run=run_down)
    status_parser = actions.add_parser(
        "status",
        parents=[name_option],
        help="show the state of the lab; exit code 0 if the lab is up, else 1",
    )
    status_parser.set_defaults(run=run_status)

    _lab_power.add_power_parser(actions, name_option)
    _add_exec_parser(actions, name_option)
    _add_logs_parser(actions, name_option)


def _add_logs_parser(actions: "Subparsers", name_option: argparse.ArgumentParser) -> None:
    """Add the action `logs`."""
    logs_parser = actions.add_parser(
        "logs",
        parents=[name_option],
        help="print the console log and the systemd journal of a host",
    )
    logs_parser.add_argument("host", metavar="HOST", help="name of a host of the lab")
    logs_parser.add_argument(
        "-n",
        "--lines",
        type=_parse_count,
        default=200,
        metavar="N",
        help="number of lines to print from the end of each of the two logs (default: 200)",
    )
    logs_parser.set_defaults(run=run_logs)


def _add_exec_parser(actions: "Subparsers", name_option: argparse.ArgumentParser) -> None:
    """Add the action `exec`."""
    exec_parser = actions.add_parser(
        "exec",
        parents=[name_option],
        help="run a command on this machine, in a network namespace from which the hosts are "
        "reachable; with --on, run the command on a host of the lab",
        usage="migqual lab exec [--name NAME] [--on HOST] -- COMMAND ...",
    )
    exec_parser.add_argument(
        "--on",
        metavar="HOST",
        help="run COMMAND on this host of the lab; without COMMAND, open a shell on the host",
    )
    exec_parser.add_argument("command", nargs="*", metavar="COMMAND")
    exec_parser.set_defaults(run=run_exec)


def add_lanes_option(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option --lanes, the number of host pairs that are tested at the same time."""
    parser.add_argument(
        "--lanes",
        type=_parse_count,
        default=default,
        metavar="N",
        help="number of host pairs that are tested at the same time. If the topology has fewer "
        "pairs, the lab gets additional pairs (replicas), each built like a pair of the topology. "
        "The tests of a pair are divided among the pair and its replicas (default: %(default)s)",
    )


def add_guest_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --guest, the architecture of the guests."""
    parser.add_argument(
        "--guest",
        type=_parse_architecture,
        metavar="ARCHITECTURE",
        help="architecture of the guests: x86_64 or aarch64 (default: `guest` of the topology, or "
        "else the architecture of this machine)",
    )


def _parse_architecture(text: str) -> Architecture:
    try:
        return Architecture(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose one of: {', '.join(Architecture)}"
        ) from None


def read_topology(source: str, lanes: int, guest: Architecture | None = None) -> Topology:
    """Load a topology, and add replicas (additional pairs) until `lanes` pairs exist.

    Args:
        source: The name of a topology in `fixtures/labs`, or a file.
        lanes: The number of host pairs that are tested at the same time.
        guest: Architecture of the guests, instead of `guest` of the topology. None means the
            architecture of the topology.

    Raises:
        UsageError: The topology does not exist or has errors.
    """
    requested_topology = topology.add_replicas(topology.load_topology(source), lanes)
    if guest in {None, requested_topology.guest_architecture}:
        return requested_topology
    return requested_topology.model_copy(update={"guest": guest})


def add_topology_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --topology."""
    parser.add_argument(
        "--topology",
        default=DEFAULT_TOPOLOGY,
        metavar="NAME|FILE",
        help="name of a topology in fixtures/labs, or a file (default: %(default)s)",
    )


def run_up(arguments: argparse.Namespace) -> int:
    """Build the lab unless the lab is up, and print the hosts and example commands."""
    requested_topology = read_topology(arguments.topology, arguments.lanes, arguments.guest)
    started = time.monotonic()
    lab = lifecycle.start_lab(
        requested_topology,
        arguments.name,
        report_progress=print_progress,
        topology_name=arguments.topology,
    )
    print_progress(f"lab {arguments.name} is up after {time.monotonic() - started:.1f} s")
    print(_render_table(lab.layout))
    print(f"\nacceleration: {lab.acceleration}\ninventory:    {lab.inventory_file}\n")
    option = "" if arguments.name == DEFAULT_LAB_NAME else f"--name {arguments.name} "
    print(f"next:  migqual run {option}".rstrip())
    for example in (
        "-- virsh -c qemu+ssh://HOST/system list --all",
        "--on HOST",
        "-- pytest -k NAME",
    ):
        print(f"       migqual lab exec {option}{example}")
    print(f"       migqual lab down {option}".rstrip())
    return 0


def run_down(arguments: argparse.Namespace) -> int:
    """Remove all processes, namespaces and folders of the lab."""
    layout.check_lab_name(arguments.name)
    lab_existed = lifecycle.remove_lab(arguments.name)
    print_progress(f"lab {arguments.name}: {'removed' if lab_existed else 'does not exist'}")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Print the state of the lab, and return the exit code: 0 if the lab is up, else 1."""
    layout.check_lab_name(arguments.name)
    check_outside_lab()
    phase = state.detect_lab_phase(arguments.name)
    other_labs = [name for name in state.list_lab_names() if name != arguments.name]
    print(f"lab {arguments.name}: {phase}")
    if phase is LabPhase.UP:
        lab_state, lab_layout = state.read_lab_state(arguments.name)
        print(_render_summary(lab_state, lab_layout))
        print(_render_table(lab_layout))
    elif phase is LabPhase.LEFTOVER:
        print("\n".join(f"  {trace}" for trace in state.list_lab_resources(arguments.name)))
        print("an earlier lab left these objects: `migqual lab down` removes the objects,")
        print("`migqual lab up` removes the objects and builds the lab")
    if other_labs:
        print(f"other labs on this machine: {', '.join(other_labs)}")
    return 0 if phase is LabPhase.UP else 1


def run_exec(arguments: argparse.Namespace) -> int:
    """Replace the migqual process by a command in the network of the lab or on a host.

    The exit code of migqual is then the exit code of the command.

    Raises:
        UsageError: The lab is not up, or neither a command nor a host is given.
    """
    lab = load_running_lab(arguments.name)
    if arguments.on:
        return exec_in_lab(
            lab, build_ssh_command(lab.get_host(arguments.on).name, arguments.command)
        )
    if not arguments.command:
        option = "" if arguments.name == DEFAULT_LAB_NAME else f"--name {arguments.name} "
        raise UsageError(
            "lab exec: no command is given", remedy=f"migqual lab exec {option}-- COMMAND ..."
        )
    return exec_in_lab(lab, arguments.command)


def run_logs(arguments: argparse.Namespace) -> int:
    """Print the console log of a host and, if the host runs, the systemd journal.

    Returns:
        The exit code 1 if the host does not run. If the host runs, the function does not return,
        because `journalctl` replaces the migqual process.
    """
    _, lab = state.read_lab_state(arguments.name)
    host = lab.get_host(arguments.host)
    text = host.console_log.read_text(errors="replace") if host.console_log.exists() else ""
    print(f"== console log of {host.name}")
    print("\n".join(text.splitlines()[-arguments.lines :]))
    if not cgroup.list_group_pids(host.cgroup_name):
        print(f"== no systemd journal: {host.name} is not running")
        return 1
    print(f"== systemd journal of {host.name}")
    journal = ["journalctl", "--no-pager", f"--lines={arguments.lines}"]
    return exec_in_lab(lab, build_ssh_command(host.name, journal))


def print_progress(message: str) -> None:
    """Print a progress message, and flush standard output.

    If standard output is a closed pipe, this output and all later output is discarded.
    """
    try:
        print(f"migqual: {message}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_ssh_command(host: str, argv: Sequence[str]) -> list[str]:
    """Build the ssh command that runs `argv` on a host.

    The ssh command works only in the network namespace of the controller.

    Args:
        host: The name of the host.
        argv: The command to run. An empty sequence opens a shell.
    """
    return ["ssh", host, *([shlex.join(argv)] if argv else [])]


def load_running_lab(name: str) -> LabLayout:
    """Load the layout of a running lab.

    Raises:
        UsageError: The lab is not up. The remedy is the command that builds the lab.
    """
    layout.check_lab_name(name)
    if state.detect_lab_phase(name) is not LabPhase.UP:
        option = "" if name == DEFAULT_LAB_NAME else f" --name {name}"
        raise UsageError(f"lab {name} is not up", remedy=f"migqual lab up{option}")
    return state.read_lab_state(name)[1]


def build_namespace_command(lab: LabLayout, argv: Sequence[str]) -> list[str]:
    """Build the command that runs `argv` in the network namespace of the controller.

    The hosts of the lab are reachable only from this namespace.
    """
    return ["ip", "netns", "exec", lab.controller_namespace, *argv]


def build_environment(lab: LabLayout) -> dict[str, str]:
    """Build the environment variables of a command in the lab.

    MIGQUAL_INVENTORY names the inventory of the lab. PATH begins with the folder of migqual.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return {**os.environ, "MIGQUAL_INVENTORY": str(lab.inventory_file), "PATH": path}


def _parse_count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number, 1 or more")
    return int(text)


def exec_in_lab(lab: LabLayout, argv: Sequence[str]) -> NoReturn:
    """Replace the migqual process by `argv` in the network namespace of the controller."""
    command = build_namespace_command(lab, argv)
    sys.stdout.flush()
    os.execvpe(command[0], command, build_environment(lab))  # noqa: S606 - there is no shell


def _render_summary(lab_state: LabState, lab: LabLayout) -> str:
    pairs = ", ".join(f"{pair.source} -> {pair.destination}" for pair in lab.topology.pairs)
    return (
        f"topology {lab_state.topology_name}, up since {lab_state.started_at}, "
        f"acceleration {lab_state.acceleration}\n"
        f"pairs {pairs}; inventory {lab.inventory_file}"
    )


def _render_table(lab: LabLayout) -> str:
    header = ("host", "role", "release", "management", "migration", "service", "processes")
    rows: list[tuple[str, ...]] = [header]
    for host in lab.hosts:
        addresses = [host.addresses.get(network, "-") for network in ("mgmt", "mig", "svc")]
        processes = len(cgroup.list_group_pids(host.cgroup_name))
        release = str(host.spec.rootfs or host.spec.release)
        rows.append((host.name, host.spec.role, release, *addresses, str(processes)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
