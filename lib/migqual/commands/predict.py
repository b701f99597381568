"""`migqual predict GUEST DESTINATION`: would it converge, how long, and with which settings."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from migqual.commands import _move as move
from migqual.errors import MigqualError, UsageError
from migqual.hosts.domain import Domain
from migqual.model.plan import Plan
from migqual.predict.advice import Case, Choice, choices
from migqual.predict.assumed import (
    DEVICES_S,
    GIGABIT_MIB_S,
    SETUP_S,
    Assumed,
    Figure,
    Given,
    assumed,
    lacking,
)
from migqual.predict.look import Seen, look
from migqual.preflight.collect import Move


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "predict",
        description="Measures how fast the guest dirties its memory and how much of it is in use; "
        "the guest runs on and is not moved. Exit code 0 when it converges as asked, 1 when it "
        "does not, 2 on bad input, 3 when it cannot be told.",
    )
    move.add_arguments(parser)
    parser.add_argument(
        "--link",
        type=float,
        metavar="MIB_S",
        help="what the link carries, MiB/s (default: the speed that the source's interface tells; "
        f"{GIGABIT_MIB_S:g}, a gigabit, where it tells none)",
    )
    parser.add_argument(
        "--bandwidth",
        type=float,
        metavar="MIB_S",
        help="limit of the migration (default: as migrate-getspeed tells)",
    )
    parser.add_argument(
        "--downtime", type=int, metavar="MS", help="(default: as migrate-getmaxdowntime tells)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, foretell, print."""
    try:
        _check(arguments)
        seen, taken, found = _foretold(arguments)
    except MigqualError as error:
        print(f"migqual predict: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3
    print(
        as_json(seen, taken, found) if arguments.json else "\n".join(as_table(seen, taken, found))
    )
    return 0 if _converges(found) else 1


def _check(arguments: argparse.Namespace) -> None:
    for name in ("link", "bandwidth", "downtime"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} {value:g}", remedy="give more than 0")


def _foretold(arguments: argparse.Namespace) -> tuple[Seen, Assumed, list[Choice]]:
    given = Given(arguments.link, arguments.bandwidth, arguments.downtime)
    with move.asked(arguments, Plan()) as (asked, tools):
        domain = _running(asked)
        taken = assumed(given, asked.source, asked.destination, domain)
        seen = look(asked.source, domain, tools)
        case = Case(seen.memory_mib, seen.load, taken.carrier, taken.wanted)
        enough = case.foretell().converges
        absent = {} if enough else lacking(asked.source, asked.destination)
    return seen, taken, list(choices(case, absent))


def _running(asked: Move) -> Domain:
    domain = asked.source.libvirt.lookup(asked.guest)
    if domain is None:
        raise UsageError(
            f"no guest {asked.guest!r} on {asked.source.name}", remedy="see `virsh list --all`"
        )
    if domain.state() != "running":
        raise UsageError(
            f"{asked.guest} on {asked.source.name} is {domain.state()}", remedy="start it"
        )
    return domain


def _converges(found: list[Choice]) -> bool:
    return found[0].foretold is not None and found[0].foretold.converges


def as_json(seen: Seen, taken: Assumed, found: list[Choice]) -> str:
    """What was measured, what was assumed, and the choices."""
    data: dict[str, Any] = {
        "memory_mib": round(seen.memory_mib, 1),
        "guest_mib": round(seen.all_mib, 1),
        "memory_counted": seen.counted,
        "mode": seen.mode,
        "dirtied_mib_by_seconds": {f"{s:g}": round(mib, 1) for s, mib in seen.windows.items()},
        "assumed": {"setup_s": SETUP_S, "devices_s": DEVICES_S, **asdict(taken)},
        "converges": _converges(found),
        "choices": [asdict(choice) for choice in found],
    }
    return json.dumps(data, indent=2)


def as_table(seen: Seen, taken: Assumed, found: list[Choice]) -> Iterator[str]:
    """What was measured and what was assumed, then a line for each setting."""
    how = "not zero" if seen.counted else "all of it: QEMU's memory could not be counted"
    yield f"memory to send   {seen.memory_mib:.0f} of {seen.all_mib:.0f} MiB ({how})"
    dirtied = ", ".join(f"{mib:.0f} MiB in {s:g} s" for s, mib in sorted(seen.windows.items()))
    yield f"dirtied          {dirtied} ({seen.mode})"
    yield _figure("link", taken.link_mib_s, "MiB/s")
    yield _figure("bandwidth", taken.bandwidth_mib_s, "MiB/s")
    yield _figure("downtime", taken.downtime_ms, "ms")
    yield f"{'setting':15}{'converges':11}{'time':>9}{'downtime':>11}  option"
    for choice in found:
        yield _line(choice).rstrip()
    devices = f"{DEVICES_S * 1000:.0f} ms of devices"
    yield f"taken for granted: {SETUP_S:g} s before the first byte, {devices}"


def _figure(name: str, figure: Figure, unit: str) -> str:
    value = "no limit" if figure.value is None else f"{figure.value:.0f} {unit}"
    return f"{name:17}{value} ({figure.origin})"


def _line(choice: Choice) -> str:
    told = choice.foretold
    if told is None:
        return f"{choice.setting:15}{'-':11}{'-':>9}{'-':>11}  {choice.option}"
    if not told.converges:
        return f"{choice.setting:15}{'no':11}{'-':>9}{'-':>11}  {choice.option}"
    times = f"{told.total_s:7.1f} s{told.down_s * 1000:8.0f} ms"
    return f"{choice.setting:15}{'yes':11}{times}  {choice.option}"
