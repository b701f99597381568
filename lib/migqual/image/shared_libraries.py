"""Find the shared libraries of a program in a root file system.

The names come from the ELF headers, which `readelf` (binutils) prints. No program of the root file
system runs, so the root file system can have any architecture.
"""

import re
from pathlib import Path

from migqual.errors import LabError
from migqual.image import isolated_command

_NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")
_INTERPRETER = re.compile(r"\[Requesting program interpreter: (.+)\]")
# Debian's library folders of an architecture have a name such as x86_64-linux-gnu.
_FOLDER_PATTERNS = ("lib/*-linux-gnu", "usr/lib/*-linux-gnu", "lib", "usr/lib", "lib64")


def find_shared_libraries(rootfs: Path, program: Path) -> dict[str, Path]:
    """Find the dynamic loader and all shared libraries that a program needs, also indirectly.

    Args:
        rootfs: Root file system with the packages of the program.
        program: The program, a dynamic ELF file.

    Returns:
        A dictionary of paths. A key is the path of a file inside the root file system, for example
        `lib64/ld-linux-x86-64.so.2`. The value is the path of the same file on the machine.

    Raises:
        LabError: `readelf` is not installed, or a library is missing.
    """
    output = _read_elf_headers(program)
    libraries: dict[str, Path] = {}
    visited_names: set[str] = set()
    if match := _INTERPRETER.search(output):
        loader = match.group(1).lstrip("/")
        libraries[loader] = _locate(rootfs, loader)
        visited_names.add(Path(loader).name)  # the C library also needs the loader
    pending = _NEEDED.findall(output)
    while pending:
        name = pending.pop()
        if name in visited_names:
            continue
        visited_names.add(name)
        path = _find_library(rootfs, name)
        libraries[str(path.relative_to(rootfs))] = path
        pending += _NEEDED.findall(_read_elf_headers(path))
    return libraries


def _find_library(rootfs: Path, name: str) -> Path:
    for pattern in _FOLDER_PATTERNS:
        for folder in sorted(rootfs.glob(pattern)):
            if (folder / name).is_file():
                return folder / name
    raise LabError(
        f"the root file system {rootfs} has no library {name}",
        remedy=f"remove the folder {rootfs}; migqual then builds the root file system again",
    )


def _locate(rootfs: Path, path: str) -> Path:
    """Return the file `path` in the rootfs. If the file does not exist, return `usr/PATH`.

    The packages of the rootfs are not configured, so the symbolic link from `/lib64` to
    `/usr/lib64` and similar links may be missing.
    """
    return rootfs / path if (rootfs / path).exists() else rootfs / "usr" / path


def _read_elf_headers(file: Path) -> str:
    return isolated_command.run_isolated(
        ["readelf", "--wide", "--program-headers", "--dynamic", file],
        subject=f"the libraries of {file.name}",
        remedy="install the package binutils",
    ).decode()
