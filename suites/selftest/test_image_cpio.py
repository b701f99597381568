"""The archive that a guest boots from is what the kernel and other tools understand."""

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
from migqual.image.modules import Modules

pytestmark = pytest.mark.selftest

ENTRIES = {
    "init": cpio.file(b"#!/bin/sh\n", 0o755),
    "dev/console": cpio.character(5, 1),
    "bin/sh": cpio.link("busybox"),
    "empty": cpio.file(b""),
    "deep/er/file.of-13": cpio.file(bytes(range(256)) * 5 + b"x"),
    "tmp": cpio.folder(0o1777),
}


def _read(data: bytes) -> Iterator[tuple[str, list[int], bytes]]:
    """Name, header fields and contents of each member: the format read the other way round."""
    source = io.BytesIO(data)
    while True:
        head = source.read(110)
        assert head[:6] == b"070701"
        fields = [int(head[at : at + 8], 16) for at in range(6, 110, 8)]
        name = source.read(fields[11]).rstrip(b"\0").decode()
        source.seek(-source.tell() % 4, io.SEEK_CUR)
        contents = source.read(fields[6])
        source.seek(-source.tell() % 4, io.SEEK_CUR)
        if name == "TRAILER!!!":
            return
        yield name, fields, contents


def test_members_come_back_as_they_were_given() -> None:
    """
    Modes, contents, targets and device numbers survive; parents come before their children.

    Expected: every entry, and its parent folders, in sorted order.
    """
    members = {name: (fields, data) for name, fields, data in _read(cpio.archive(ENTRIES))}
    assert list(members) == sorted([*ENTRIES, "bin", "dev", "deep", "deep/er"])
    for name, entry in ENTRIES.items():
        fields, data = members[name]
        assert (fields[1], data) == (entry.mode, entry.data)
        assert tuple(fields[9:11]) == (entry.major, entry.minor)


def test_the_same_entries_give_the_same_bytes() -> None:
    """
    An archive does not depend on the order of its making, the time or the user.

    Expected: equal bytes for entries given in reverse; times and owners 0.
    """
    backwards = dict(reversed(ENTRIES.items()))
    assert cpio.archive(ENTRIES) == cpio.archive(backwards)
    for _, fields, _ in _read(cpio.archive(ENTRIES)):
        assert (fields[2], fields[3], fields[5]) == (0, 0, 0)


def _unpackers() -> list[list[str]]:
    found = [["cpio"], ["busybox", "cpio"]]
    return [argv for argv in found if shutil.which(argv[0])]


@pytest.mark.skipif(
    not _unpackers() or os.geteuid() != 0, reason="needs cpio or busybox, and root for devices"
)
def test_other_tools_unpack_it(tmp_path: Path) -> None:
    """
    What cpio or busybox unpacks is what was packed.

    Expected: the same types, modes, contents, targets and device numbers.
    """
    for argv in _unpackers():
        target = tmp_path / argv[0]
        target.mkdir()
        subprocess.run(
            [*argv, "-idm"], cwd=target, input=cpio.archive(ENTRIES), check=True, timeout=20
        )
        for name, entry in ENTRIES.items():
            _compare(target / name, entry)


def _compare(path: Path, entry: cpio.Entry) -> None:
    found = path.lstat()
    assert found.st_mode == entry.mode
    if stat.S_ISLNK(entry.mode):
        assert path.readlink() == Path(entry.data.decode())
    elif stat.S_ISREG(entry.mode):
        assert path.read_bytes() == entry.data
    elif stat.S_ISCHR(entry.mode):
        assert found.st_rdev == os.makedev(entry.major, entry.minor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three modules, each needing the next; one that is built in."""
    needs = {"net-top": "middle,builtin_one", "middle": "bottom", "bottom": ""}
    for name, needed in needs.items():
        (tmp_path / f"{name}.ko").write_bytes(b"ELF\0depends=%b\0" % needed.encode())
    (tmp_path / "modules.builtin").write_text("kernel/builtin-one.ko\n")
    return tmp_path


def test_modules_load_after_what_they_need(folder: Path) -> None:
    """
    Dependencies come first, once; what is built in is left out; dashes equal underscores.

    Expected: bottom, middle, top.
    """
    found = Modules(folder).closure(["net_top", "middle"], ["absent"])
    assert list(found) == ["bottom", "middle", "net_top"]


def test_a_missing_module_is_one_clear_error(folder: Path) -> None:
    """
    A kernel without a module that a guest cannot do without makes no guest image.

    Expected: `LabError` with the module's name.
    """
    with pytest.raises(LabError, match="no module absent"):
        Modules(folder).closure(["absent"])
