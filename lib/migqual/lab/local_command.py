"""Run commands on the local machine that create or remove parts of a lab."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from migqual.errors import LabError


def run_local_command(
    argv: Sequence[str | Path], *, stdin: str | None = None, remedy: str = ""
) -> str:
    """Run a command on the machine and return the standard output.

    Args:
        argv: Program and arguments.
        stdin: Text for the standard input.
        remedy: Remedy in the `LabError` for an exit status other than 0.

    Raises:
        LabError: The program is not installed, or the exit status is not 0. The message
            contains the last 4 lines of the output.
    """
    arguments = [str(argument) for argument in argv]
    try:
        result = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(
            f"{arguments[0]} is not installed",
            remedy="run `make bootstrap` to install all missing programs",
        ) from error
    if result.returncode != 0:
        last_lines = " | ".join((result.stderr or result.stdout).strip().splitlines()[-4:])
        raise LabError(
            f"{' '.join(arguments[:6])}: exit status {result.returncode}: {last_lines}",
            remedy=remedy,
        )
    return result.stdout


def try_local_command(argv: Sequence[str | Path]) -> bool:
    """Run a command on the machine and return True if the exit status is 0.

    Raises:
        FileNotFoundError: The program is not installed.
    """
    arguments = [str(argument) for argument in argv]
    return subprocess.run(arguments, capture_output=True, check=False).returncode == 0
