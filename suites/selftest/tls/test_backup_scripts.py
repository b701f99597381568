"""Tests of the backup scripts for certificates and qemu.conf.

The original folder and file come back complete, and changes by other people are not lost.
"""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from migqual.tls import backup_scripts

pytestmark = pytest.mark.selftest

TAG = "mq-test"


@pytest.fixture
def certificate_folder(tmp_path: Path) -> Path:
    """Return a certificate folder with a file of the host's administrator, not of migqual."""
    path = tmp_path / "qemu"
    path.mkdir()
    (path / "ca-cert.pem").write_text("theirs")
    return path


@pytest.fixture
def qemu_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a qemu.conf of the host's administrator. A fake systemctl records daemon restarts."""
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/restarts\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(systemctl.parent), prepend=":")
    path = tmp_path / "qemu.conf"
    path.write_text("user = 1\n")
    path.chmod(0o600)
    return path


def run_script(script: str, path: Path, *arguments: str, stdin: bytes = b"") -> int:
    argv = ["sh", "-c", script, "sh", str(path), TAG, *arguments]
    return subprocess.run(argv, input=stdin, check=False, capture_output=True).returncode


def build_certificate_archive(certificate: bytes) -> bytes:
    manifest = f"{hashlib.sha256(certificate).hexdigest()}  ./ca-cert.pem\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in ((f".{TAG}", manifest), ("ca-cert.pem", certificate)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_folder_is_restored_after_several_installs(certificate_folder: Path) -> None:
    """
    The restore brings back the administrator's certificates, after migqual installed its own twice.

    A second run of the restore script does no harm.
    """
    assert run_script(backup_scripts.BACK_UP_FOLDER, certificate_folder) == 0
    assert [
        run_script(
            backup_scripts.INSTALL_FOLDER,
            certificate_folder,
            stdin=build_certificate_archive(certificate),
        )
        for certificate in (b"one", b"two")
    ] == [0, 0]
    assert (certificate_folder / "ca-cert.pem").read_text() == "two"
    assert [run_script(backup_scripts.RESTORE_FOLDER, certificate_folder) for _ in range(2)] == [
        0,
        0,
    ]

    assert (certificate_folder / "ca-cert.pem").read_text() == "theirs"
    assert [path.name for path in certificate_folder.parent.iterdir()] == ["qemu"]


@pytest.mark.parametrize("name", ["ca-cert.pem", "server-cert.pem"])
def test_folder_changed_by_others_is_left(certificate_folder: Path, name: str) -> None:
    """
    If a user changed the certificate folder, the scripts neither overwrite nor remove the folder.

    Preconditions: migqual made a backup of the original folder and installed its own certificates.
    Then a user replaced a file in the folder, or added a file. After this change, the scripts for
    backup, installation and restore run.
    Expected: each of the three scripts fails. The user's file stays in the folder. The backup
    still contains the original certificate.
    """
    run_script(backup_scripts.BACK_UP_FOLDER, certificate_folder)
    run_script(
        backup_scripts.INSTALL_FOLDER, certificate_folder, stdin=build_certificate_archive(b"one")
    )
    (certificate_folder / name).write_text("new ones of theirs")

    scripts = (
        backup_scripts.BACK_UP_FOLDER,
        backup_scripts.INSTALL_FOLDER,
        backup_scripts.RESTORE_FOLDER,
    )
    assert [
        run_script(script, certificate_folder, stdin=build_certificate_archive(b"two"))
        for script in scripts
    ] == [1, 1, 1]

    assert (certificate_folder / name).read_text() == "new ones of theirs"
    assert (certificate_folder.parent / f"qemu.{TAG}" / "ca-cert.pem").read_text() == "theirs"


def test_new_folder_changed_by_others_is_left(tmp_path: Path) -> None:
    """
    If a user added a file to the folder that migqual created, backup and restore fail.

    The restore script removes only an unchanged folder. Here the folder stays, together with the
    private keys of migqual. So the restore script must not report success.
    """
    path = tmp_path / "qemu"
    run_script(backup_scripts.INSTALL_FOLDER, path, stdin=build_certificate_archive(b"one"))
    (path / "server-cert.pem").write_text("theirs")

    assert [
        run_script(script, path)
        for script in (backup_scripts.BACK_UP_FOLDER, backup_scripts.RESTORE_FOLDER)
    ] == [1, 1]

    assert (path / "server-cert.pem").read_text() == "theirs"


def test_foreign_folder_blocks_restore(certificate_folder: Path) -> None:
    """
    The restore of a certificate folder fails if a user created a new folder at the same path.

    Expected: the restore script does not report success. The user's folder stays.
    """
    run_script(backup_scripts.BACK_UP_FOLDER, certificate_folder)
    certificate_folder.mkdir()
    (certificate_folder / "ca-cert.pem").write_text("another's")

    assert run_script(backup_scripts.RESTORE_FOLDER, certificate_folder) == 1

    assert (certificate_folder / "ca-cert.pem").read_text() == "another's"


def test_restore_removes_folder_without_original(certificate_folder: Path) -> None:
    path = certificate_folder.parent / "pki" / "qemu"

    assert run_script(backup_scripts.BACK_UP_FOLDER, path) == 0
    assert (
        run_script(backup_scripts.INSTALL_FOLDER, path, stdin=build_certificate_archive(b"one"))
        == 0
    )
    assert run_script(backup_scripts.RESTORE_FOLDER, path) == 0
    assert run_script(backup_scripts.REMOVE_EMPTY_PARENT, path.parent) == 0

    assert not path.parent.exists()


def test_file_is_restored_with_permissions_and_one_restart(qemu_conf: Path) -> None:
    """
    The restore brings back the original qemu.conf, and restarts libvirt's daemon only once.

    migqual changed the file twice before. A second run of the restore script does not restart the
    daemon again.
    """
    assert run_script(backup_scripts.BACK_UP_FILE, qemu_conf) == 0
    assert [
        run_script(backup_scripts.REPLACE_FILE, qemu_conf, stdin=text)
        for text in (b"one\n", b"two\n")
    ] == [0, 0]
    assert (qemu_conf.read_text(), qemu_conf.stat().st_mode & 0o777) == ("two\n", 0o600)
    assert run_script(backup_scripts.IS_RESTART_PENDING, qemu_conf) == 0
    assert [run_script(backup_scripts.RESTORE_FILE, qemu_conf, "libvirtd") for _ in range(2)] == [
        0,
        0,
    ]

    assert qemu_conf.read_text() == "user = 1\n"
    assert (qemu_conf.parent / "restarts").read_text() == "try-restart libvirtd.service\n"
    assert sorted(path.name for path in qemu_conf.parent.iterdir()) == [
        "bin",
        "qemu.conf",
        "restarts",
    ]


def test_file_changed_by_others_is_left(qemu_conf: Path) -> None:
    run_script(backup_scripts.BACK_UP_FILE, qemu_conf)
    run_script(backup_scripts.REPLACE_FILE, qemu_conf, stdin=b"one\n")
    qemu_conf.write_text("user = 2\n")

    assert run_script(backup_scripts.REPLACE_FILE, qemu_conf, stdin=b"two\n") == 1
    assert run_script(backup_scripts.RESTORE_FILE, qemu_conf, "libvirtd") == 1

    assert qemu_conf.read_text() == "user = 2\n"
    assert Path(f"{qemu_conf}.{TAG}").read_text() == "user = 1\n"
