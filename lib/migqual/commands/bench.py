"""`migqual bench`: measure the cost of migqual in comparison with the bare tools."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from migqual.errors import UsageError

if TYPE_CHECKING:
    from migqual.inventory.entities import Inventory

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name


def register(subparsers: "Subparsers") -> None:
    """Add the command `bench` with a parser for each benchmark."""
    parser = subparsers.add_parser("bench")
    benchmarks = parser.add_subparsers(dest="bench", required=True)
    overhead = _add_benchmark(
        benchmarks,
        "overhead",
        "compare migrations with all observers to plain `virsh migrate`",
        "Migrates the same guest alternately with plain `virsh migrate` and with all observers.",
    )
    overhead.add_argument("--rounds", type=int, default=20, help="number of rounds")
    overhead.add_argument("--memory", type=int, default=512, help="guest memory in MiB")
    overhead.set_defaults(run=_run_overhead_benchmark)
    ready = _add_benchmark(
        benchmarks,
        "ready",
        "measure the time from the definition of a guest to the first answer of its guest agent",
        "Starts guests one after the other, alternately with migqual and with virsh.",
    )
    ready.add_argument("--rounds", type=int, default=10, help="number of rounds")
    ready.add_argument("--memory", type=int, default=256, help="guest memory in MiB")
    ready.set_defaults(run=_run_ready_benchmark)
    storage = _add_benchmark(
        benchmarks,
        "storage",
        "compare disk copies of migqual to plain `virsh migrate --copy-storage-all`",
        "Copies the same disk of the same guest alternately with both. migqual creates the image "
        "at the destination; virsh needs an existing image.",
    )
    storage.add_argument("--rounds", type=int, default=5, help="number of rounds")
    storage.add_argument("--size", type=int, default=2048, help="disk size in MiB")
    storage.set_defaults(run=_run_storage_benchmark)
    idle = benchmarks.add_parser(
        "idle",
        help="measure the CPU time of an idle guest and its observers",
        description="Observes an idle guest between migrations. The last line is the sum.",
    )
    idle.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    idle.add_argument("--seconds", type=int, default=30, help="length of the measurement")
    idle.set_defaults(run=_run_idle_benchmark, rounds=1)
    predict = benchmarks.add_parser(
        "predict",
        help="compare predictions to the migrations that follow",
        description="Predicts and then runs a migration for each point of a grid of dirty rates, "
        "working sets and bandwidths. Writes reports/out/prediction.json. The last lines are the "
        "results.",
    )
    predict.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    predict.add_argument("--trials", type=int, help="number of grid points (default: all)")
    predict.set_defaults(run=_run_predict_benchmark, rounds=1)


def _add_benchmark(
    benchmarks: "Subparsers", name: str, help_text: str, description: str
) -> argparse.ArgumentParser:
    parser = benchmarks.add_parser(
        name,
        help=help_text,
        description=f"{description} The last line is the ratio of the medians.",
    )
    parser.add_argument("--inventory", type=Path, default=os.environ.get("MIGQUAL_INVENTORY"))
    return parser


def _run_overhead_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import overhead

    result = overhead.measure_overhead(
        _load_inventory(arguments),
        rounds=arguments.rounds,
        memory_mib=arguments.memory,
        report_progress=print,
    )
    print("\n".join(overhead.format_overhead(result)))
    return 0


def _run_ready_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import ready

    result = ready.measure_ready_times(
        _load_inventory(arguments),
        rounds=arguments.rounds,
        memory_mib=arguments.memory,
        report_progress=print,
    )
    print("\n".join(ready.format_ready_times(result)))
    return 0


def _run_storage_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import storage

    if arguments.size < storage.MIN_DISK_MIB:
        raise UsageError(
            f"--size {arguments.size} is too small",
            remedy=f"give {storage.MIN_DISK_MIB} MiB or more",
        )
    result = storage.measure_disk_copies(
        _load_inventory(arguments),
        rounds=arguments.rounds,
        disk_mib=arguments.size,
        report_progress=print,
    )
    print("\n".join(storage.format_disk_copy_times(result)))
    return 0


def _run_idle_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import idle

    if arguments.seconds < idle.MIN_SECONDS:
        raise UsageError(
            f"--seconds {arguments.seconds} is too short", remedy=f"give {idle.MIN_SECONDS} or more"
        )
    result = idle.measure_idle_cost(_load_inventory(arguments), seconds=arguments.seconds)
    print("\n".join(idle.format_idle_cost(result)))
    return 0


def _run_predict_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import predict

    if arguments.trials is not None and arguments.trials < 1:
        raise UsageError(f"--trials {arguments.trials} is too small", remedy="give 1 or more")
    result = predict.measure_predictions(
        _load_inventory(arguments), point_count=arguments.trials, report_progress=print
    )
    print("\n".join(predict.format_score(result)))
    print(f"written: {predict.write_prediction_json(result)}")
    return 1 if any(trial.damage for trial in result.trials) else 0


def _load_inventory(arguments: argparse.Namespace) -> "Inventory":
    from migqual.inventory.file import load_inventory

    if arguments.inventory is None:
        raise UsageError(
            "no inventory file is given",
            remedy="give --inventory FILE, or use a lab: migqual lab up; "
            f"migqual lab exec -- .venv/bin/migqual bench {arguments.bench}",
        )
    if arguments.rounds < 1:
        raise UsageError(f"--rounds {arguments.rounds} is too small", remedy="give 1 or more")
    return load_inventory(Path(arguments.inventory))
