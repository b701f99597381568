"""The kernel and other tools can read the boot archive of a guest."""

import io
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.errors import LabError
from migqual.image import cpio
from migqual.image.kernel_modules import KernelModules

pytestmark = pytest.mark.selftest

ENTRIES = {
    "init": cpio.make_file_entry(b"#!/bin/sh\n", 0o755),
    "dev/console": cpio.make_character_device_entry(5, 1),
    "bin/sh": cpio.make_symlink_entry("busybox"),
    "empty": cpio.make_file_entry(b""),
    "deep/er/file.of-13": cpio.make_file_entry(bytes(range(256)) * 5 + b"x"),
    "tmp": cpio.make_folder_entry(0o1777),
}


def _read_archive(data: bytes) -> Iterator[tuple[str, list[int], bytes]]:
    """Parse the archive; yield name, header fields and contents of each member."""
    stream = io.BytesIO(data)
    while True:
        header = stream.read(110)
        assert header[:6] == b"070701"
        header_fields = [int(header[offset : offset + 8], 16) for offset in range(6, 110, 8)]
        name = stream.read(header_fields[11]).rstrip(b"\0").decode()
        stream.seek(-stream.tell() % 4, io.SEEK_CUR)
        contents = stream.read(header_fields[6])
        stream.seek(-stream.tell() % 4, io.SEEK_CUR)
        if name == "TRAILER!!!":
            return
        yield name, header_fields, contents


def test_archive_keeps_all_members() -> None:
    """
    An archive keeps modes, contents, link targets and device numbers of all entries.

    Expected: the archive has every entry and all parent folders, in sorted order.
    """
    members = {
        name: (fields, data)
        for name, fields, data in _read_archive(cpio.build_cpio_archive(ENTRIES))
    }
    assert list(members) == sorted([*ENTRIES, "bin", "dev", "deep", "deep/er"])
    for name, entry in ENTRIES.items():
        fields, data = members[name]
        assert (fields[1], data) == (entry.mode, entry.data)
        assert tuple(fields[9:11]) == (entry.major, entry.minor)


def test_archive_is_reproducible() -> None:
    """
    The bytes of an archive do not depend on entry order, time or user.

    Expected: equal bytes for entries in reverse order; times and owners are 0.
    """
    reversed_entries = dict(reversed(ENTRIES.items()))
    assert cpio.build_cpio_archive(ENTRIES) == cpio.build_cpio_archive(reversed_entries)
    for _, fields, _ in _read_archive(cpio.build_cpio_archive(ENTRIES)):
        assert (fields[2], fields[3], fields[5]) == (0, 0, 0)


def _list_unpack_commands() -> list[list[str]]:
    commands = [["cpio"], ["busybox", "cpio"]]
    return [command for command in commands if shutil.which(command[0])]


@pytest.mark.skipif(
    not _list_unpack_commands() or os.geteuid() != 0,
    reason="needs cpio or busybox, and root for devices",
)
def test_cpio_and_busybox_unpack_the_archive(tmp_path: Path) -> None:
    """
    cpio and busybox unpack exactly the packed entries.

    Expected: the same types, modes, contents, targets and device numbers.
    """
    for command in _list_unpack_commands():
        target_folder = tmp_path / command[0]
        target_folder.mkdir()
        subprocess.run(
            [*command, "-idm"],
            cwd=target_folder,
            input=cpio.build_cpio_archive(ENTRIES),
            check=True,
            timeout=20,
        )
        for name, entry in ENTRIES.items():
            _assert_same_entry(target_folder / name, entry)


def _assert_same_entry(path: Path, entry: cpio.CpioEntry) -> None:
    file_status = path.lstat()
    assert file_status.st_mode == entry.mode
    if stat.S_ISLNK(entry.mode):
        assert path.readlink() == Path(entry.data.decode())
    elif stat.S_ISREG(entry.mode):
        assert path.read_bytes() == entry.data
    elif stat.S_ISCHR(entry.mode):
        assert file_status.st_rdev == os.makedev(entry.major, entry.minor)


@pytest.fixture
def module_folder(tmp_path: Path) -> Path:
    """Create three kernel modules, each depending on the next, and the file `modules.builtin`.

    `modules.builtin` lists one module that is built into the kernel.
    """
    dependencies = {"net-top": "middle,builtin_one", "middle": "bottom", "bottom": ""}
    for name, dependency_names in dependencies.items():
        (tmp_path / f"{name}.ko").write_bytes(b"ELF\0depends=%b\0" % dependency_names.encode())
    (tmp_path / "modules.builtin").write_text("kernel/builtin-one.ko\n")
    return tmp_path


def test_kernel_modules_load_after_their_dependencies(module_folder: Path) -> None:
    """
    Each module loads once, after its dependencies. Built-in and missing optional modules are left
    out. In the name of a module, a dash is the same as an underscore.

    Expected: the modules bottom, middle and net_top, in this order.
    """
    modules = KernelModules(module_folder).collect_with_dependencies(
        ["net_top", "middle"], ["absent"]
    )
    assert list(modules) == ["bottom", "middle", "net_top"]


def test_missing_kernel_module_raises_lab_error(module_folder: Path) -> None:
    """
    Without a required kernel module no guest image is built.

    Expected: `LabError` with the name of the module.
    """
    with pytest.raises(LabError, match="no module absent"):
        KernelModules(module_folder).collect_with_dependencies(["absent"])
