"""`migqual predict GUEST DESTINATION`: would it converge, how long, and with which settings."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from migqual.commands import _move as move
from migqual.errors import MigqualError, UnsupportedError, UsageError
from migqual.model.plan import Plan
from migqual.predict.advice import Case, Choice, choices
from migqual.predict.look import Seen, look
from migqual.predict.precopy import Carrier, Wanted
from migqual.preflight.collect import Move
from migqual.preflight.tools import Tools

_GIGABIT_MIB_S = 112.0
_SETUP_S = 0.5
_DEVICES_S = 0.03
_DOWNTIME_MS = 300
_DEADLINE_S = 3600.0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command. Its `run` takes the parsed arguments and gives the exit code."""
    parser = subparsers.add_parser(
        "predict",
        help="foretell whether a guest converges, how long it takes, and what to set",
        description="Measures how fast the guest dirties its memory and how much of it is in use; "
        "the guest runs on and is not moved. Exit code 0 when it converges as asked, 1 when it "
        "does not, 2 on bad input.",
    )
    move.add_arguments(parser)
    parser.add_argument(
        "--link",
        type=float,
        default=_GIGABIT_MIB_S,
        metavar="MIB_S",
        help="what the link carries, MiB/s (default: %(default)g, a gigabit)",
    )
    parser.add_argument(
        "--bandwidth", type=float, metavar="MIB_S", help="limit of the migration (default: none)"
    )
    parser.add_argument(
        "--downtime", type=int, default=_DOWNTIME_MS, metavar="MS", help="(default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, foretell, print."""
    try:
        _check(arguments)
        with move.asked(arguments, Plan()) as (asked, tools):
            seen = _look(asked, tools)
    except UsageError as error:
        print(f"migqual predict: {error}", file=sys.stderr)
        return 2
    except MigqualError as error:
        print(f"migqual predict: {error}", file=sys.stderr)
        return 1 if isinstance(error, UnsupportedError) else 3
    found = list(choices(_case(arguments, seen)))
    print(as_json(seen, found) if arguments.json else "\n".join(as_table(seen, found)))
    return 0 if found[0].foretold is not None and found[0].foretold.converges else 1


def _check(arguments: argparse.Namespace) -> None:
    for name in ("link", "bandwidth", "downtime"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name} {value:g}", remedy="more than nothing")


def _look(asked: Move, tools: Tools) -> Seen:
    domain = asked.source.libvirt.lookup(asked.guest)
    if domain is None:
        raise UsageError(
            f"no guest {asked.guest!r} on {asked.source.name}", remedy="see `virsh list --all`"
        )
    if domain.state() != "running":
        raise UsageError(
            f"{asked.guest} on {asked.source.name} is {domain.state()}", remedy="start it"
        )
    return look(asked.source, domain, tools)


def _case(arguments: argparse.Namespace, seen: Seen) -> Case:
    limit = min(arguments.link, arguments.bandwidth or arguments.link)
    carrier = Carrier(limit, arguments.link, _SETUP_S, devices_s=_DEVICES_S)
    wanted = Wanted(arguments.downtime / 1000, _DEADLINE_S)
    return Case(seen.memory_mib, seen.load, carrier, wanted)


def as_json(seen: Seen, found: list[Choice]) -> str:
    """What was measured, and the choices."""
    data: dict[str, Any] = {
        "memory_mib": round(seen.memory_mib, 1),
        "guest_mib": round(seen.all_mib, 1),
        "memory_counted": seen.counted,
        "mode": seen.mode,
        "dirtied_mib_by_seconds": {f"{s:g}": round(mib, 1) for s, mib in seen.windows.items()},
        "assumed": {"setup_s": _SETUP_S, "devices_s": _DEVICES_S},
        "converges": found[0].foretold is not None and found[0].foretold.converges,
        "choices": [asdict(choice) for choice in found],
    }
    return json.dumps(data, indent=2)


def as_table(seen: Seen, found: list[Choice]) -> Iterator[str]:
    """What was measured, then a line for each setting."""
    how = "not zero" if seen.counted else "all of it: QEMU's memory could not be counted"
    yield f"memory to send   {seen.memory_mib:.0f} of {seen.all_mib:.0f} MiB ({how})"
    dirtied = ", ".join(f"{mib:.0f} MiB in {s:g} s" for s, mib in sorted(seen.windows.items()))
    yield f"dirtied          {dirtied} ({seen.mode})"
    yield f"{'setting':15}{'converges':11}{'time':>9}{'downtime':>11}  option"
    for choice in found:
        yield _line(choice).rstrip()
    devices = f"{_DEVICES_S * 1000:.0f} ms of devices"
    yield f"taken for granted: {_SETUP_S:g} s before the first byte, {devices}"


def _line(choice: Choice) -> str:
    told = choice.foretold
    if told is None:
        return f"{choice.setting:15}{'-':11}{'-':>9}{'-':>11}  {choice.option}"
    if not told.converges:
        return f"{choice.setting:15}{'no':11}{'-':>9}{'-':>11}  {choice.option}"
    times = f"{told.total_s:7.1f} s{told.down_s * 1000:8.0f} ms"
    return f"{choice.setting:15}{'yes':11}{times}  {choice.option}"
