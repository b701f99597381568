"""`migqual params GUEST`: list migration parameters and the defaults that openEuler documents."""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from migqual.commands import _common_arguments as common_arguments
from migqual.commands._error_exit import run_and_report_errors
from migqual.errors import UsageError
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.host import Host
from migqual.model import documented_parameters
from migqual.model.documented_parameters import ParameterComparison
from migqual.units import MIB

_HEADER = ("parameter", "current value", "documented default", "")
_MISSING = "missing"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `params`. The handler `run` returns the exit code."""
    parser = subparsers.add_parser(
        "params",
        description="Lists the migration parameters of the guest's QEMU: first every parameter "
        "that the openEuler documentation names, with its value or `missing`, then all other "
        "parameters. migqual queries QEMU's monitor, and libvirt then marks the domain as tainted. "
        "Exit code 0 if the list is printed, 1 if QEMU cannot be queried, 2 on bad input.",
    )
    parser.add_argument("guest", metavar="GUEST", help="name of the guest (any libvirt domain)")
    parser.add_argument(
        "--source",
        metavar="HOST",
        help="name of the host on which the guest runs (default: search all hypervisors)",
    )
    common_arguments.add_inventory_option(parser)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Query the migration parameters of the guest's QEMU and print a table.

    Returns:
        The exit code: 0 after success, 1 when QEMU cannot be queried, 2 on bad input.
    """
    return run_and_report_errors("params", lambda: _print_parameters(arguments))


def _print_parameters(arguments: argparse.Namespace) -> int:
    rows = _read_parameters(arguments)
    print(
        render_parameters_json(rows) if arguments.json else "\n".join(render_parameters_table(rows))
    )
    return 0


def render_parameters_json(rows: Sequence[ParameterComparison]) -> str:
    """Render the parameters as a JSON list of objects: name, value (null if missing), default."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def render_parameters_table(rows: Sequence[ParameterComparison]) -> Iterator[str]:
    """Yield the lines of a table with parameter, value, documented default and `differs`."""
    table = [_HEADER, *(_format_row(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADER))]
    for row in table:
        yield "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()


def _format_row(row: ParameterComparison) -> tuple[str, ...]:
    value = _MISSING if row.value is None else json.dumps(row.value)
    if row.name == "max-bandwidth" and isinstance(row.value, int):
        bandwidth_mib_s = row.value / MIB
        bandwidth_mbit_s = documented_parameters.convert_to_mbit_s(bandwidth_mib_s)
        value += f" ({bandwidth_mib_s:.0f} MiB/s, {bandwidth_mbit_s:.0f} Mbit/s)"
    default = "" if row.default is None else json.dumps(row.default)
    return row.name, value, default, "differs" if row.differs_from_default else ""


def _read_parameters(arguments: argparse.Namespace) -> tuple[ParameterComparison, ...]:
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    names = common_arguments.select_hypervisors(
        inventory, [arguments.source] if arguments.source else []
    )
    with ExitStack() as stack:
        for name in names:
            host = stack.enter_context(Host(inventory.find_host(name)))
            domain = host.libvirt.find_domain(arguments.guest)
            if domain is not None and domain.query_state() is not DomainState.SHUT_OFF:
                return _query_parameters(domain)
    raise UsageError(
        f"no guest {arguments.guest!r} runs on {', '.join(names)}",
        remedy="give the name of a domain that `virsh list` shows on a host of the inventory",
    )


def _query_parameters(domain: Domain) -> tuple[ParameterComparison, ...]:
    return tuple(
        documented_parameters.compare_parameters(domain.run_qmp_command("query-migrate-parameters"))
    )
