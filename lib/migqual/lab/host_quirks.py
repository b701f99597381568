"""Write the quirks of a lab host into the overlayfs upper layer of the host, before the boot.

A quirk is a property of real hosts that a Debian host does not have, for example another SSH port.
"""

import os
import shutil
import stat
from pathlib import Path

from migqual.errors import LabError
from migqual.lab.quirks import ROOT_USER, HostQuirks

DEBIAN_EMULATOR = Path("/usr/bin/qemu-system-x86_64")
DESCRIPTORS_FOLDER = Path("/usr/share/qemu/firmware")
QEMU_CONF = Path("/etc/libvirt/qemu.conf")
SFTP_LINE = "Subsystem sftp"


def render_sshd_quirks(quirks: HostQuirks) -> str:
    """Render the lines of sshd_config for the SSH port, the login user and the locale.

    A property with the default value needs no line.
    """
    lines = [f"Port {quirks.ssh_port}\n"] if quirks.ssh_port != 22 else []
    if quirks.login_user != ROOT_USER:
        lines.append("PermitRootLogin no\n")
    if quirks.locale is not None:
        lines.append(f"SetEnv LANG={quirks.locale} LC_ALL={quirks.locale}\n")
    return "".join(lines)


def write_host_quirks(upper: Path, rootfs: Path, quirks: HostQuirks) -> None:
    """Write files into the upper layer of a lab host, so that the host imitates a real host.

    Args:
        upper: Folder of the overlayfs upper layer, which contains the configuration of the host.
        rootfs: Root file system below the upper layer. The function only reads the rootfs.
        quirks: Properties of the real host, from the topology.

    Raises:
        LabError: The rootfs lacks a file that the function must change.
    """
    if quirks.umask != "022":
        _write_file(
            upper / "etc/systemd/system/ssh.service.d/umask.conf",
            f"[Service]\nUMask={quirks.umask}\n",
        )
        _write_file(upper / "etc/profile.d/umask.sh", f"umask {quirks.umask}\n")
    if not quirks.has_sftp:
        _remove_sftp(upper, rootfs)
    if quirks.emulator is not None:
        _move_emulator(upper, rootfs, quirks.emulator)
    if not quirks.has_firmware_descriptors:
        _hide(upper, DESCRIPTORS_FOLDER)
    if quirks.locale is not None:
        _write_file(upper / "etc/default/locale", f"LANG={quirks.locale}\n")
    if quirks.login_shell_text:
        _write_file(upper / "root/.bashrc", f"echo '{quirks.login_shell_text}'\n")
    if quirks.qemu_conf_target is not None:
        target = upper / quirks.qemu_conf_target.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        conf_file = upper / QEMU_CONF.relative_to("/")
        conf_file.rename(target)
        conf_file.symlink_to(quirks.qemu_conf_target)


def _remove_sftp(upper: Path, rootfs: Path) -> None:
    config = _read_lower_file(rootfs, Path("/etc/ssh/sshd_config"))
    lines = [line for line in config.splitlines() if not line.startswith(SFTP_LINE)]
    _write_file(upper / "etc/ssh/sshd_config", "\n".join(lines) + "\n")


def _move_emulator(upper: Path, rootfs: Path, emulator: Path) -> None:
    source = rootfs / DEBIAN_EMULATOR.relative_to("/")
    if not source.exists():
        raise LabError(
            f"{source} does not exist, but the lab must copy this QEMU to {emulator} on the host",
            remedy="in the topology, add qemu-system-x86 to `packages` of the host, or remove "
            "`emulator` from `quirks`",
        )
    target = upper / emulator.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    _hide(upper, DEBIAN_EMULATOR)


def _hide(upper: Path, path: Path) -> None:
    """Hide a path of the lower layer with an overlayfs whiteout (a character device 0:0)."""
    whiteout = upper / path.relative_to("/")
    whiteout.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(whiteout, stat.S_IFCHR, os.makedev(0, 0))


def _read_lower_file(rootfs: Path, path: Path) -> str:
    try:
        return (rootfs / path.relative_to("/")).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise LabError(
            f"the root file system {rootfs} has no file {path}, but `has_sftp: false` in the "
            "topology changes this file",
            remedy="choose another `rootfs` for the host, or remove `has_sftp: false`",
        ) from error


def _write_file(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o644)
