"""The quirks of a lab host are files in the overlayfs upper layer, written before the boot.

A quirk is a property of real hosts that a lab host imitates, for example another path of QEMU.
"""

import stat
from pathlib import Path

import pytest

from migqual.errors import LabError
from migqual.lab.host_quirks import render_sshd_quirks, write_host_quirks
from migqual.lab.quirks import HostQuirks

pytestmark = pytest.mark.selftest

SSHD_CONFIG = "Include x\nSubsystem sftp /usr/lib/openssh/sftp-server\nX11Forwarding yes\n"


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    rootfs = tmp_path / "rootfs"
    for path, text in (
        ("etc/ssh/sshd_config", SSHD_CONFIG),
        ("usr/bin/qemu-system-x86_64", "binary"),
    ):
        (rootfs / path).parent.mkdir(parents=True, exist_ok=True)
        (rootfs / path).write_text(text)
    return rootfs


def test_host_without_quirks_is_unchanged(tmp_path: Path, rootfs: Path) -> None:
    """A lab host without quirks gets no configuration file, and no additional line in sshd_config.

    A quirk is a property of real hosts that a lab host imitates.
    """
    write_host_quirks(tmp_path / "upper", rootfs, HostQuirks())

    assert not (tmp_path / "upper").exists()
    assert render_sshd_quirks(HostQuirks()) == ""


def test_sftp_is_removed_and_other_settings_stay(tmp_path: Path, rootfs: Path) -> None:
    """If a lab host imitates a real host without SFTP, sshd_config lacks only the line for SFTP."""
    write_host_quirks(tmp_path / "upper", rootfs, HostQuirks(has_sftp=False))

    config = (tmp_path / "upper/etc/ssh/sshd_config").read_text()
    assert config == "Include x\nX11Forwarding yes\n"


def test_emulator_has_only_the_new_path(tmp_path: Path, rootfs: Path) -> None:
    """If a quirk moves QEMU to another path, QEMU is no longer at Debian's path.

    A quirk is a property of real hosts that a lab host imitates.
    Expected: QEMU is at the path of the quirk. An overlayfs whiteout hides Debian's path.
    """
    emulator = Path("/usr/libexec/qemu-kvm")

    write_host_quirks(tmp_path / "upper", rootfs, HostQuirks(emulator=emulator))

    assert (tmp_path / "upper/usr/libexec/qemu-kvm").read_text() == "binary"
    whiteout = (tmp_path / "upper/usr/bin/qemu-system-x86_64").lstat()
    assert stat.S_ISCHR(whiteout.st_mode)
    assert whiteout.st_rdev == 0


def test_rootfs_without_the_emulator_is_an_error(tmp_path: Path, rootfs: Path) -> None:
    """A new path for QEMU is an error if the root file system does not contain QEMU.

    A quirk is a property of real hosts that a lab host imitates, here the path of QEMU.
    Preconditions: the root file system has no file `/usr/bin/qemu-system-x86_64`.
    Expected: the error names this file.
    """
    (rootfs / "usr/bin/qemu-system-x86_64").unlink()

    with pytest.raises(LabError, match="qemu-system-x86_64"):
        write_host_quirks(tmp_path, rootfs, HostQuirks(emulator=Path("/usr/libexec/qemu-kvm")))


def test_qemu_conf_is_a_link_to_the_managed_file(tmp_path: Path, rootfs: Path) -> None:
    """If a quirk moves qemu.conf, /etc/libvirt/qemu.conf is a symbolic link to the moved file.

    A quirk is a property of real hosts that a lab host imitates.
    """
    conf_file = tmp_path / "upper/etc/libvirt/qemu.conf"
    conf_file.parent.mkdir(parents=True)
    conf_file.write_text("user = 'x'\n")

    quirks = HostQuirks(qemu_conf_target=Path("/etc/site/qemu.conf"))
    write_host_quirks(tmp_path / "upper", rootfs, quirks)

    assert conf_file.is_symlink()
    assert str(conf_file.readlink()) == "/etc/site/qemu.conf"
    assert (tmp_path / "upper/etc/site/qemu.conf").read_text() == "user = 'x'\n"


def test_umask_is_set_for_logins_and_commands(tmp_path: Path, rootfs: Path) -> None:
    """The quirk `umask` of a lab host sets the umask of SSH sessions and of login shells.

    A quirk is a property of real hosts that a lab host imitates.
    """
    write_host_quirks(tmp_path, rootfs, HostQuirks(umask="0077"))

    drop_in = (tmp_path / "etc/systemd/system/ssh.service.d/umask.conf").read_text()
    assert drop_in == "[Service]\nUMask=0077\n"
    assert (tmp_path / "etc/profile.d/umask.sh").read_text() == "umask 0077\n"
