"""Create a user for SSH logins on a lab host, who may run every command with sudo."""

import os
from pathlib import Path

from migqual.errors import LabError

USER_ID = 1000
_LIBVIRT_GROUP = "libvirt"


def create_login_user(upper: Path, rootfs: Path, name: str, public_key: str) -> None:
    """Create a login user in the overlayfs upper layer of a lab host.

    The user may run every command with sudo, without a password. The user may also use libvirt,
    because the other host of a pair connects to libvirt on this host as this user.

    Args:
        upper: Folder of the upper layer.
        rootfs: Root file system below the upper layer. The rootfs must contain the package sudo.
            The function only reads the rootfs.
        name: Name of the user.
        public_key: Public SSH key of the user, a line for ``authorized_keys``.

    Raises:
        LabError: The rootfs has no /etc/passwd, /etc/shadow or /etc/group.
    """
    home = f"/home/{name}"
    for file, line in (
        ("passwd", f"{name}:x:{USER_ID}:{USER_ID}::{home}:/bin/bash"),
        ("shadow", f"{name}:*:20000:0:99999:7:::"),
    ):
        _write_account_file(upper, file, f"{_read_account_file(rootfs, file)}{line}\n")
    group_lines = [
        _add_group_member(line, name) if line.startswith(f"{_LIBVIRT_GROUP}:") else line
        for line in _read_account_file(rootfs, "group").splitlines()
    ]
    _write_account_file(
        upper, "group", "".join(f"{line}\n" for line in (*group_lines, f"{name}:x:{USER_ID}:"))
    )
    sudoers_file = upper / "etc/sudoers.d" / name
    sudoers_file.parent.mkdir(parents=True, exist_ok=True)
    sudoers_file.write_text(f"{name} ALL=(ALL:ALL) NOPASSWD: ALL\n", encoding="utf-8")
    sudoers_file.chmod(0o440)
    _write_authorized_keys(upper / home.lstrip("/"), public_key)


def _add_group_member(line: str, name: str) -> str:
    members = line.rpartition(":")[2]
    return f"{line},{name}" if members else f"{line}{name}"


def _write_authorized_keys(home: Path, public_key: str) -> None:
    folder = home / ".ssh"
    folder.mkdir(parents=True)
    keys_file = folder / "authorized_keys"
    keys_file.write_text(public_key, encoding="utf-8")
    for path, mode in ((home, 0o700), (folder, 0o700), (keys_file, 0o600)):
        path.chmod(mode)
        os.chown(path, USER_ID, USER_ID)


def _read_account_file(rootfs: Path, name: str) -> str:
    try:
        return (rootfs / "etc" / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise LabError(
            f"the root file system {rootfs} has no file /etc/{name}, but `login_user` in the "
            "topology changes this file",
            remedy="choose another root file system for the host, or remove `login_user`",
        ) from error


def _write_account_file(upper: Path, name: str, text: str) -> None:
    file = upper / "etc" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o640 if name == "shadow" else 0o644)
