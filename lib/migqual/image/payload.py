"""Compile the static program that runs in guests, on clients and on hosts."""

import shutil
from collections.abc import Callable
from pathlib import Path

from migqual.errors import LabError
from migqual.image import build, store
from migqual.places import FIXTURES

SOURCES = FIXTURES / "guest"
_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-D_GNU_SOURCE", "-static", "-pthread")
_REMEDY = "as root: `apt-get install gcc libc6-dev` (dnf: gcc glibc-static)"


def ensure_payload(
    cache: Path, say: Callable[[str], None], *, compiler: str = "cc", sources: Path = SOURCES
) -> Path:
    """`migqual-payload`, compiled if the cache does not hold it.

    Raises `LabError` without a compiler, or with the compiler's last lines.
    """
    if shutil.which(compiler) is None:
        raise LabError(f"no C compiler ({compiler}) to build the payload", remedy=_REMEDY)

    def make(half: Path) -> None:
        say("compiling the guest payload")
        units = sorted(sources.glob("*.c"))
        build.run([compiler, *_FLAGS, "-o", half, *units], what="the guest payload", remedy=_REMEDY)
        half.chmod(0o755)

    return store.ensure(cache / "payload" / f"migqual-payload-{payload_key(sources)}", make)


def payload_key(sources: Path = SOURCES) -> str:
    """Names the program in the cache: its sources and the compiler's flags."""
    files = sorted([*sources.glob("*.c"), *sources.glob("*.h")])
    return store.key_of("payload", _FLAGS, [file.name for file in files], *files)
