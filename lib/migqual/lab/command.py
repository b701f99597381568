"""Run a program on the machine that carries the lab."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from migqual.errors import LabError


def run(argv: Sequence[str | Path], *, stdin: str | None = None, remedy: str = "") -> str:
    """Run `argv`, return its standard output. Raises `LabError` with its last words."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: not installed", remedy="run `make test` once") from error
    if done.returncode != 0:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise LabError(f"{' '.join(words[:6])}: exit {done.returncode}: {last}", remedy=remedy)
    return done.stdout


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Whether `argv` ends with status 0."""
    words = [str(word) for word in argv]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
