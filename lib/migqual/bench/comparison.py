"""Comparison of timed runs: migqual, observed migrations, and tools by hand."""

import os
import statistics
import subprocess
from collections.abc import Sequence

from migqual.errors import UsageError
from migqual.hosts.host import Host
from migqual.model.plan import Plan
from migqual.testbed.observers import Observers


def measure_observed_migration(observers: Observers, destination: Host, plan: Plan) -> float:
    """Migrate with every observer, and return the seconds of the call.

    Args:
        observers: The observers of the guest.
        destination: The host to migrate to.
        plan: Options and limits of the migration.

    Raises:
        MigrationError: The migration failed.
        UsageError: The observers found violations.
    """
    migration = observers.migrate(destination, plan)
    if migration.error or migration.violations:
        raise migration.error or UsageError("; ".join(migration.violations))
    return migration.outcome.seconds


def run_tool(argv: Sequence[str]) -> str:
    """Run a tool as on a command line, and return the output.

    Args:
        argv: The tool and the arguments.

    Raises:
        UsageError: The tool failed. The error holds the tool's message.
    """
    environment = os.environ | {"LC_ALL": "C"}
    result = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        raise UsageError(
            f"{argv[0]}: {result.stderr.strip()}",
            remedy=f"run the command by hand: {' '.join(argv)}",
        )
    return result.stdout


def format_table(rows: Sequence[tuple[str, Sequence[float]]]) -> list[str]:
    """Format the smallest, median and largest value of each row, in s."""
    lines = [f"{'':24}{'min':>8}{'median':>8}{'max':>8}  s, {len(rows[0][1])} runs each"]
    for name, values in rows:
        figures = (min(values), statistics.median(values), max(values))
        lines.append(f"{name:24}" + "".join(f"{value:8.3f}" for value in figures))
    return lines


def compute_median_ratio(values: Sequence[float], reference_values: Sequence[float]) -> float:
    """Compute the ratio of the medians of `values` and `reference_values`."""
    return statistics.median(values) / statistics.median(reference_values)
