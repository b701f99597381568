"""Run build commands so that nothing of them outlives us."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from migqual.errors import LabError

LAST_LINES = 12
_CAGE = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
)


def run(argv: Sequence[str | Path], *, what: str, remedy: str, stdin: bytes = b"") -> bytes:
    """Run `argv` in its own mount and process namespaces and return its standard output.

    When this process dies, be it by SIGKILL, everything the command started dies with it and its
    mounts go. Raises `LabError` naming `what`, with the last lines of output and `remedy`.
    """
    words = [str(word) for word in argv]
    for tool in (_CAGE[0], _CAGE[3], words[0]):
        if shutil.which(tool) is None:
            raise LabError(f"{what}: {tool} is not installed", remedy=remedy)
    ended = subprocess.run(
        [*_CAGE, *words],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if ended.returncode:
        raise LabError(
            f"{what}: {words[0]} ended with status {ended.returncode}\n"
            f"{last_lines(ended.stderr or ended.stdout)}",
            remedy=remedy,
        )
    return ended.stdout


def inside(
    tree: Path, argv: Sequence[str | Path], *, what: str, binds: dict[Path, str] | None = None
) -> bytes:
    """Run `argv` in the root tree `tree`, with folders of `binds` mounted at paths inside it.

    The mounts are seen by the command alone. Raises `LabError` like `run`.
    """
    script = (
        'set -e; tree=$1; shift; while [ "$1" != -- ]; do mount --bind "$1" "$tree$2"; shift 2;'
    )
    script += ' done; shift; exec chroot "$tree" "$@"'
    pairs = [word for place, at in (binds or {}).items() for word in (str(place), at)]
    for at in (binds or {}).values():
        (tree / at.lstrip("/")).mkdir(parents=True, exist_ok=True)
    return run(
        ["sh", "-c", script, "sh", tree, *pairs, "--", *argv],
        what=what,
        remedy="run as root on a machine that allows mount namespaces and chroot",
    )


def last_lines(output: bytes) -> str:
    """The last lines of a command's output, indented for an error message."""
    lines = output.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    return "\n".join(f"    {line}" for line in lines)
