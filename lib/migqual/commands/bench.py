"""`migqual bench`: measure the overhead of migqual and the accuracy of its predictions."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from migqual.commands import _common_arguments as common_arguments
from migqual.errors import UsageError

if TYPE_CHECKING:
    from migqual.inventory.entities import Inventory

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

T = TypeVar("T")

MEMORY_HELP = "guest memory in MiB (default: %(default)s)"


def register(subparsers: "Subparsers") -> None:
    """Add the command `bench` with a parser for each benchmark."""
    parser = subparsers.add_parser(
        "bench",
        description="Measures the overhead of migqual in comparison with virsh, and the accuracy "
        "of the predictions. Guests run on the first pair of the inventory.",
    )
    benchmarks = parser.add_subparsers(dest="bench", metavar="BENCHMARK", required=True)
    _register_comparisons(benchmarks)
    idle = _add_benchmark(
        benchmarks,
        "idle",
        "measure the CPU time of an idle guest and its observers",
        "Observes an idle guest while no migration runs. Prints the CPU time of QEMU, the gap "
        "meter and migqual, in percent of one core. The last line is the sum.",
    )
    idle.add_argument(
        "--seconds",
        type=int,
        default=30,
        metavar="S",
        help="length of the measurement in seconds (default: %(default)s)",
    )
    idle.set_defaults(run=_run_idle_benchmark)
    predict = _add_benchmark(
        benchmarks,
        "predict",
        "predict migrations, then compare the predictions with the real migrations",
        "Predicts a migration, then runs the migration, for each combination of dirty rate, "
        "working set and bandwidth. Writes reports/out/prediction.json. The last lines show the "
        "differences between the predicted and the measured values.",
    )
    predict.add_argument(
        "--trials", type=int, metavar="N", help="number of combinations to run (default: all)"
    )
    predict.set_defaults(run=_run_predict_benchmark)


def _register_comparisons(benchmarks: "Subparsers") -> None:
    """Add the benchmarks that measure migqual and virsh in turn."""
    overhead = _add_comparison(
        benchmarks,
        "overhead",
        "compare plain `virsh migrate` with migrations that migqual observes",
        "Migrates the same guest with plain `virsh migrate` and with migqual in turn. During the "
        "migrations with migqual all observers run.",
        rounds=20,
    )
    overhead.add_argument("--memory", type=int, default=512, metavar="MIB", help=MEMORY_HELP)
    overhead.set_defaults(run=_run_overhead_benchmark)
    ready = _add_comparison(
        benchmarks,
        "ready",
        "measure the time from the definition of a guest to the first reply of its guest agent",
        "Starts guests one after the other, in turn with migqual and with virsh.",
        rounds=10,
    )
    ready.add_argument("--memory", type=int, default=256, metavar="MIB", help=MEMORY_HELP)
    ready.set_defaults(run=_run_ready_benchmark)
    storage = _add_comparison(
        benchmarks,
        "storage",
        "compare disk copies of migqual with plain `virsh migrate --copy-storage-all`",
        "Copies the same disk of the same guest in turn with migqual and with virsh. migqual "
        "creates the image at the destination; virsh needs an existing image.",
        rounds=5,
    )
    storage.add_argument(
        "--size",
        type=int,
        default=2048,
        metavar="MIB",
        help="disk size in MiB (default: %(default)s)",
    )
    storage.set_defaults(run=_run_storage_benchmark)


def _add_comparison(
    benchmarks: "Subparsers", name: str, help_text: str, description: str, rounds: int
) -> argparse.ArgumentParser:
    parser = _add_benchmark(
        benchmarks,
        name,
        help_text,
        f"{description} The last line is the median time with migqual divided by the median time "
        "with virsh.",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=rounds,
        metavar="N",
        help="number of rounds; each round measures migqual once and virsh once "
        "(default: %(default)s)",
    )
    return parser


def _add_benchmark(
    benchmarks: "Subparsers", name: str, help_text: str, description: str
) -> argparse.ArgumentParser:
    parser = benchmarks.add_parser(name, help=help_text, description=description)
    common_arguments.add_inventory_option(parser)
    return parser


def _run_overhead_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import overhead

    return _run_comparison(
        arguments, overhead.measure_overhead, overhead.format_overhead, memory_mib=arguments.memory
    )


def _run_ready_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import ready

    return _run_comparison(
        arguments, ready.measure_ready_times, ready.format_ready_times, memory_mib=arguments.memory
    )


def _run_storage_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import storage

    _require_minimum("--size", arguments.size, storage.MIN_DISK_MIB)
    return _run_comparison(
        arguments,
        storage.measure_disk_copies,
        storage.format_disk_copy_times,
        disk_mib=arguments.size,
    )


def _run_comparison(
    arguments: argparse.Namespace,
    measure: Callable[..., T],
    format_result: Callable[[T], Iterable[str]],
    **options: int,
) -> int:
    """Run a comparison of migqual with virsh, print the result, and return the exit code 0."""
    inventory = _load_inventory(arguments)
    _require_minimum("--rounds", arguments.rounds, 1)
    result = measure(inventory, rounds=arguments.rounds, report_progress=print, **options)
    print("\n".join(format_result(result)))
    return 0


def _run_idle_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import idle

    _require_minimum("--seconds", arguments.seconds, idle.MIN_SECONDS)
    result = idle.measure_idle_cost(_load_inventory(arguments), seconds=arguments.seconds)
    print("\n".join(idle.format_idle_cost(result)))
    return 0


def _run_predict_benchmark(arguments: argparse.Namespace) -> int:
    from migqual.bench import predict

    if arguments.trials is not None:
        _require_minimum("--trials", arguments.trials, 1)
    result = predict.measure_predictions(
        _load_inventory(arguments), point_count=arguments.trials, report_progress=print
    )
    print("\n".join(predict.format_score(result)))
    print(f"written: {predict.write_prediction_json(result)}")
    return 1 if any(trial.damage for trial in result.trials) else 0


def _require_minimum(option: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise UsageError(f"{option} {value} is too small", remedy=f"give {minimum} or more")


def _load_inventory(arguments: argparse.Namespace) -> "Inventory":
    from migqual.inventory.file import load_inventory

    if arguments.inventory is None:
        raise UsageError(
            "no inventory file is given",
            remedy="give --inventory FILE, or use a lab with these two commands: `migqual lab up`; "
            f"`migqual lab exec -- .venv/bin/migqual bench {arguments.bench}`",
        )
    return load_inventory(Path(arguments.inventory))
