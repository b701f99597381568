"""`migqual bench`: what migqual costs, measured against the bare tools."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from migqual.errors import UsageError

if TYPE_CHECKING:
    from migqual.model.inventory import Inventory

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name


def register(subparsers: "Subparsers") -> None:
    parser = subparsers.add_parser("bench")
    kinds = parser.add_subparsers(dest="bench", required=True)
    overhead = _kind(
        kinds,
        "overhead",
        "migrations with all observers against bare virsh migrate",
        "Alternates bare `virsh migrate` and migrate() with all observers on the same guest.",
    )
    overhead.add_argument("--rounds", type=int, default=20)
    overhead.add_argument("--memory", type=int, default=512, help="MiB of the guest")
    overhead.set_defaults(run=_overhead)
    ready = _kind(
        kinds,
        "ready",
        "from the definition of a guest to the first answer of its agent",
        "Boots guests one at a time, by migqual and by virsh in turn.",
    )
    ready.add_argument("--rounds", type=int, default=10)
    ready.add_argument("--memory", type=int, default=256, help="MiB of the guest")
    ready.set_defaults(run=_ready)
    storage = _kind(
        kinds,
        "storage",
        "copies of a disk by migqual against bare virsh migrate --copy-storage-all",
        "Alternates both with the same guest and disk; migqual makes the image, virsh finds one.",
    )
    storage.add_argument("--rounds", type=int, default=5)
    storage.add_argument("--size", type=int, default=2048, help="MiB of the disk")
    storage.set_defaults(run=_storage)
    idle = kinds.add_parser(
        "idle",
        help="CPU time of a guest at rest that is watched",
        description="Watches a guest at rest between migrations; the last line is the sum.",
    )
    idle.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    idle.add_argument("--seconds", type=int, default=30)
    idle.set_defaults(run=_idle, rounds=1)
    predict = kinds.add_parser(
        "predict",
        help="predictions against the migrations that followed",
        description="Foretells and then migrates a grid of dirty rates, working sets and "
        "bandwidths; writes reports/out/prediction.json. The last lines are the figures.",
    )
    predict.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    predict.add_argument("--cells", type=int, help="so many points of the grid (default: all)")
    predict.set_defaults(run=_predict, rounds=1)


def _kind(kinds: "Subparsers", name: str, words: str, description: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(
        name, help=words, description=f"{description} The last line is the ratio of the medians."
    )
    parser.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    return parser


def _overhead(args: argparse.Namespace) -> int:
    from migqual.bench import overhead

    found = overhead.measure(
        _inventory(args), rounds=args.rounds, memory_mib=args.memory, say=print
    )
    print("\n".join(overhead.lines(found)))
    return 0


def _ready(args: argparse.Namespace) -> int:
    from migqual.bench import ready

    found = ready.measure(_inventory(args), rounds=args.rounds, memory_mib=args.memory, say=print)
    print("\n".join(ready.lines(found)))
    return 0


def _storage(args: argparse.Namespace) -> int:
    from migqual.bench import storage

    if args.size < storage.SMALLEST_MIB:
        raise UsageError(f"--size {args.size}", remedy=f"at least {storage.SMALLEST_MIB}")
    found = storage.measure(_inventory(args), rounds=args.rounds, mib=args.size, say=print)
    print("\n".join(storage.lines(found)))
    return 0


def _idle(args: argparse.Namespace) -> int:
    from migqual.bench import idle

    if args.seconds < idle.SHORTEST_SECONDS:
        raise UsageError(f"--seconds {args.seconds}", remedy=f"at least {idle.SHORTEST_SECONDS}")
    found = idle.measure(_inventory(args), seconds=args.seconds)
    print("\n".join(idle.lines(found)))
    return 0


def _predict(args: argparse.Namespace) -> int:
    from migqual.bench import predict

    if args.cells is not None and args.cells < 1:
        raise UsageError(f"--cells {args.cells}", remedy="at least 1")
    found = predict.measure(_inventory(args), cells=args.cells, say=print)
    print("\n".join(predict.lines(found)))
    print(f"written: {predict.write(found)}")
    return 1 if any(cell.damage for cell in found.cells) else 0


def _inventory(args: argparse.Namespace) -> "Inventory":
    from migqual.model.inventory_file import load_inventory

    if args.inventory is None:
        raise UsageError(
            "no inventory",
            remedy=f"migqual lab up; migqual lab exec -- .venv/bin/migqual bench {args.bench}",
        )
    if args.rounds < 1:
        raise UsageError(f"--rounds {args.rounds}", remedy="at least 1")
    return load_inventory(Path(args.inventory))
