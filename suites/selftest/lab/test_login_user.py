"""The user for SSH logins on a lab host."""

from pathlib import Path

import pytest

from migqual.errors import LabError
from migqual.lab.login_user import USER_ID, create_login_user

pytestmark = pytest.mark.selftest


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    folder = tmp_path / "rootfs/etc"
    folder.mkdir(parents=True)
    (folder / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (folder / "shadow").write_text("root:*:1:0:99999:7:::\n")
    (folder / "group").write_text("root:x:0:\nlibvirt:x:105:\nsudo:x:27:\n")
    return tmp_path / "rootfs"


def test_user_has_sudo_and_libvirt(tmp_path: Path, rootfs: Path) -> None:
    """The new user has sudo, the group libvirt and an SSH key. The other accounts stay."""
    upper = tmp_path / "upper"

    create_login_user(upper, rootfs, "admin", "ssh-ed25519 KEY\n")

    passwd_lines = (upper / "etc/passwd").read_text().splitlines()
    assert passwd_lines[0] == "root:x:0:0:root:/root:/bin/bash"
    assert passwd_lines[1] == f"admin:x:{USER_ID}:{USER_ID}::/home/admin:/bin/bash"
    assert "libvirt:x:105:admin" in (upper / "etc/group").read_text().splitlines()
    assert (upper / "etc/sudoers.d/admin").stat().st_mode & 0o777 == 0o440
    keys_file = upper / "home/admin/.ssh/authorized_keys"
    assert keys_file.read_text() == "ssh-ed25519 KEY\n"
    assert {path.stat().st_uid for path in (keys_file, keys_file.parent)} == {USER_ID}
    assert (upper / "etc/shadow").stat().st_mode & 0o777 == 0o640


def test_rootfs_without_accounts_is_an_error(tmp_path: Path, rootfs: Path) -> None:
    (rootfs / "etc/group").unlink()

    with pytest.raises(LabError, match="/etc/group"):
        create_login_user(tmp_path / "upper", rootfs, "admin", "key\n")
