"""What was there before us comes back whole, and what somebody changed meanwhile is not lost."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from migqual.tls import aside

pytestmark = pytest.mark.selftest

TAG = "mq-test"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An administrator's certificates."""
    made = tmp_path / "qemu"
    made.mkdir()
    (made / "ca-cert.pem").write_text("theirs")
    return made


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An administrator's qemu.conf, on a host that writes down which daemons are restarted."""
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/restarts\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(systemctl.parent), prepend=":")
    file = tmp_path / "qemu.conf"
    file.write_text("user = 1\n")
    file.chmod(0o600)
    return file


def sh(script: str, place: Path, *more: str, stdin: bytes = b"") -> int:
    argv = ["sh", "-c", script, "sh", str(place), TAG, *more]
    return subprocess.run(argv, input=stdin, check=False, capture_output=True).returncode


def ours(text: bytes) -> bytes:
    mark = f"{hashlib.sha256(text).hexdigest()}  ./ca-cert.pem\n".encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in ((f".{TAG}", mark), ("ca-cert.pem", text)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def test_folder_comes_back_after_several_of_ours(folder: Path) -> None:
    """However often ours were renewed; and undoing twice does no harm."""
    assert sh(aside.FOLDER_ASIDE, folder) == 0
    assert [sh(aside.FOLDER_PUT, folder, stdin=ours(text)) for text in (b"one", b"two")] == [0, 0]
    assert (folder / "ca-cert.pem").read_text() == "two"
    assert [sh(aside.FOLDER_BACK, folder) for _ in range(2)] == [0, 0]

    assert (folder / "ca-cert.pem").read_text() == "theirs"
    assert [path.name for path in folder.parent.iterdir()] == ["qemu"]


@pytest.mark.parametrize("name", ["ca-cert.pem", "server-cert.pem"])
def test_folder_that_somebody_changed_is_left(folder: Path, name: str) -> None:
    """Neither written over nor removed, whether a file was replaced or added."""
    sh(aside.FOLDER_ASIDE, folder)
    sh(aside.FOLDER_PUT, folder, stdin=ours(b"one"))
    (folder / name).write_text("new ones of theirs")

    scripts = (aside.FOLDER_ASIDE, aside.FOLDER_PUT, aside.FOLDER_BACK)
    assert [sh(script, folder, stdin=ours(b"two")) for script in scripts] == [1, 1, 1]

    assert (folder / name).read_text() == "new ones of theirs"
    assert (folder.parent / f"qemu.{TAG}" / "ca-cert.pem").read_text() == "theirs"


def test_folder_that_somebody_changed_is_left_where_none_was_before(tmp_path: Path) -> None:
    """Our keys are in it still: it is not undone."""
    place = tmp_path / "qemu"
    sh(aside.FOLDER_PUT, place, stdin=ours(b"one"))
    (place / "server-cert.pem").write_text("theirs")

    assert [sh(one, place) for one in (aside.FOLDER_ASIDE, aside.FOLDER_BACK)] == [1, 1]

    assert (place / "server-cert.pem").read_text() == "theirs"


def test_folder_that_was_put_aside_by_another_is_not_forgotten(folder: Path) -> None:
    """While somebody else's stand in the place, ours cannot be said to be undone."""
    sh(aside.FOLDER_ASIDE, folder)
    folder.mkdir()
    (folder / "ca-cert.pem").write_text("another's")

    assert sh(aside.FOLDER_BACK, folder) == 1

    assert (folder / "ca-cert.pem").read_text() == "another's"


def test_no_folder_before_is_none_afterwards(folder: Path) -> None:
    place = folder.parent / "pki" / "qemu"

    assert sh(aside.FOLDER_ASIDE, place) == 0
    assert sh(aside.FOLDER_PUT, place, stdin=ours(b"one")) == 0
    assert sh(aside.FOLDER_BACK, place) == 0
    assert sh(aside.PARENT_BACK, place.parent) == 0

    assert not place.parent.exists()


def test_file_comes_back_with_its_rights_and_one_restart(conf: Path) -> None:
    """However often it was changed; and undoing twice restarts once."""
    assert sh(aside.FILE_ASIDE, conf) == 0
    assert [sh(aside.FILE_PUT, conf, stdin=text) for text in (b"one\n", b"two\n")] == [0, 0]
    assert (conf.read_text(), conf.stat().st_mode & 0o777) == ("two\n", 0o600)
    assert sh(aside.RESTART_OWED, conf) == 0
    assert [sh(aside.FILE_BACK, conf, "libvirtd") for _ in range(2)] == [0, 0]

    assert conf.read_text() == "user = 1\n"
    assert (conf.parent / "restarts").read_text() == "try-restart libvirtd.service\n"
    assert sorted(path.name for path in conf.parent.iterdir()) == ["bin", "qemu.conf", "restarts"]


def test_file_that_somebody_changed_is_left(conf: Path) -> None:
    sh(aside.FILE_ASIDE, conf)
    sh(aside.FILE_PUT, conf, stdin=b"one\n")
    conf.write_text("user = 2\n")

    assert sh(aside.FILE_PUT, conf, stdin=b"two\n") == 1
    assert sh(aside.FILE_BACK, conf, "libvirtd") == 1

    assert conf.read_text() == "user = 2\n"
    assert Path(f"{conf}.{TAG}").read_text() == "user = 1\n"
