"""Compile the static program `migqual-payload`, which runs in guests and on hosts."""

import shutil
from collections.abc import Callable
from pathlib import Path

from migqual.architecture import Architecture, get_machine_architecture
from migqual.errors import LabError
from migqual.image import build_cache, isolated_command
from migqual.paths import FIXTURES

PAYLOAD_SOURCES = FIXTURES / "guest"
_COMPILER_FLAGS = (
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-O2",
    "-D_GNU_SOURCE",
    "-static",
    "-pthread",
)
_REMEDY = "as root, run `apt-get install gcc libc6-dev` or `dnf install gcc glibc-static`"
_CROSS_REMEDY = "on Debian or Ubuntu, run `make bootstrap GUEST={}`, which installs this compiler"


def ensure_payload(
    cache: Path,
    report_progress: Callable[[str], None],
    architecture: Architecture | None = None,
    *,
    compiler: str = "",
    sources: Path = PAYLOAD_SOURCES,
) -> Path:
    """Return the path of `migqual-payload`; compile the program if the cache has none.

    Args:
        cache: Root folder of the cache.
        report_progress: Called with a line of text before the compilation.
        architecture: Architecture of the program. None means the architecture of the machine.
        compiler: Name or path of the C compiler. "" chooses the compiler for the architecture.
        sources: Folder with the C files.

    Raises:
        LabError: The compiler is not installed or failed. The message contains the last lines
            of the compiler's output.
    """
    architecture = architecture or get_machine_architecture()
    program = compiler or architecture.compiler
    is_native = architecture.compiler == "cc"
    remedy = _REMEDY if is_native else _CROSS_REMEDY.format(architecture)
    if shutil.which(program) is None:
        raise LabError(f"the C compiler {program} is not installed", remedy=remedy)

    def compile_payload(partial_path: Path) -> None:
        report_progress(f"compiling the payload (migqual-payload) for {architecture}")
        source_files = sorted(sources.glob("*.c"))
        isolated_command.run_isolated(
            [program, *_COMPILER_FLAGS, "-o", partial_path, *source_files],
            subject="the payload (migqual-payload)",
            remedy=remedy,
        )
        partial_path.chmod(0o755)

    name = f"migqual-payload-{architecture}-{compute_payload_key(sources)}"
    return build_cache.ensure_cached(cache / "payload" / name, compile_payload)


def compute_payload_key(sources: Path = PAYLOAD_SOURCES) -> str:
    """Compute the cache key of the payload from the source files and the compiler flags."""
    files = sorted([*sources.glob("*.c"), *sources.glob("*.h")])
    return build_cache.compute_key(
        "payload", _COMPILER_FLAGS, [file.name for file in files], *files
    )
