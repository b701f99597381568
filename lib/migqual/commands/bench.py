"""`migqual bench`: what migqual costs, measured against the bare tools."""

import argparse
import os
from pathlib import Path

from migqual.errors import UsageError


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("bench", help="measure what migqual costs")
    kinds = parser.add_subparsers(dest="bench", required=True)
    overhead = kinds.add_parser(
        "overhead",
        help="migrations with all observers against bare virsh migrate",
        description="Alternates bare `virsh migrate` and migrate() with all observers on the same "
        "guest and pair. The last line is the ratio of the medians.",
    )
    overhead.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    overhead.add_argument("--rounds", type=int, default=20)
    overhead.add_argument("--memory", type=int, default=512, help="MiB of the guest")
    overhead.set_defaults(run=_overhead)


def _overhead(args: argparse.Namespace) -> int:
    from migqual.bench import overhead
    from migqual.model.inventory_file import load_inventory

    if args.inventory is None:
        raise UsageError(
            "no inventory",
            remedy="migqual lab up; migqual lab exec -- .venv/bin/migqual bench overhead",
        )
    inventory = load_inventory(Path(args.inventory))
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}", remedy="at least 1")
    found = overhead.measure(inventory, rounds=args.rounds, memory_mib=args.memory, say=print)
    print("\n".join(overhead.lines(found)))
    return 0
