"""Compare the times of migqual with the times of plain tools such as virsh."""

import os
import statistics
import subprocess
from collections.abc import Sequence

from migqual.errors import UsageError


def run_tool(argv: Sequence[str]) -> str:
    """Run a command-line tool, and return the standard output of the tool.

    Args:
        argv: The tool and the arguments.

    Raises:
        UsageError: The tool failed. The error contains the message of the tool.
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
    """Format a table of times in s; each row has the smallest, the median and the largest time."""
    lines = [f"{'':24}{'min':>8}{'median':>8}{'max':>8}  in s, {len(rows[0][1])} rounds"]
    for name, values in rows:
        figures = (min(values), statistics.median(values), max(values))
        lines.append(f"{name:24}" + "".join(f"{value:8.3f}" for value in figures))
    return lines


def compute_median_ratio(values: Sequence[float], reference_values: Sequence[float]) -> float:
    """Compute the median of `values` divided by the median of `reference_values`."""
    return statistics.median(values) / statistics.median(reference_values)
