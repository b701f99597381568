"""The shared libraries of a program are found without running the program."""

import subprocess
from pathlib import Path

import pytest

from migqual.errors import LabError
from migqual.image.shared_libraries import find_shared_libraries

pytestmark = pytest.mark.selftest

LIBRARY_FOLDER = "usr/lib/test-linux-gnu"


def compile_library(folder: Path, name: str, *needed: str) -> None:
    """Compile an empty library that needs the libraries `needed` in the same folder."""
    options = ["-nostdlib", "-shared", "-Wl,--no-as-needed", f"-Wl,-soname,{name}"]
    argv = ["cc", *options, "-o", str(folder / name), "-xc", "/dev/null", "-xnone"]
    subprocess.run([*argv, *(str(folder / one) for one in needed)], check=True)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    """Create a rootfs with a program that needs libone, which needs libtwo."""
    folder = tmp_path / LIBRARY_FOLDER
    folder.mkdir(parents=True)
    compile_library(folder, "libtwo.so.2")
    compile_library(folder, "libone.so.1", "libtwo.so.2")
    (tmp_path / "usr/lib64").mkdir()
    (tmp_path / "usr/lib64/loader.so").write_bytes(b"loader")
    options = ["-nostdlib", "-Wl,--no-as-needed", "-Wl,--dynamic-linker,/lib64/loader.so"]
    options += ["-Wl,--allow-shlib-undefined", "-Wl,-e,0"]
    argv = ["cc", *options, "-o", str(tmp_path / "program"), "-xc", "/dev/null", "-xnone"]
    subprocess.run([*argv, str(folder / "libone.so.1")], check=True)
    return tmp_path


def test_indirect_libraries_and_loader_are_found(rootfs: Path) -> None:
    """`find_shared_libraries` finds the loader and all libraries of a program, also indirect ones.

    Preconditions: the program needs libone, and libone needs libtwo. The link `lib64` to
    `usr/lib64` is missing.
    Expected: libone, libtwo, and the loader in `usr/lib64`.
    """
    assert find_shared_libraries(rootfs, rootfs / "program") == {
        "lib64/loader.so": rootfs / "usr/lib64/loader.so",
        f"{LIBRARY_FOLDER}/libone.so.1": rootfs / LIBRARY_FOLDER / "libone.so.1",
        f"{LIBRARY_FOLDER}/libtwo.so.2": rootfs / LIBRARY_FOLDER / "libtwo.so.2",
    }


def test_missing_library_is_an_error(rootfs: Path) -> None:
    (rootfs / LIBRARY_FOLDER / "libtwo.so.2").unlink()

    with pytest.raises(LabError, match=r"has no library libtwo\.so\.2"):
        find_shared_libraries(rootfs, rootfs / "program")
