"""The local machine keeps a folder with SSH settings while a host is in use."""

import fcntl
import tempfile
from pathlib import Path

import pytest

from migqual.hosts.host import Host, remove_stale_ssh_folders
from migqual.inventory.entities import HostEntry

pytestmark = pytest.mark.selftest


def test_only_ssh_folders_of_ended_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The SSH folder of an ended process is removed; the SSH folder of a running process stays.

    Preconditions: the running process holds a lock in its folder. migqual checks this lock, not the
    process id, because a container with the same temporary folder has its own process ids.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stale_folder, used_folder, *other_folders = (
        tmp_path / name for name in ("migqual-ssh-1", "migqual-ssh-2", "migqual-ssh-3", "other")
    )
    for folder in (stale_folder, used_folder, *other_folders):
        folder.mkdir()
    (stale_folder / "in-use").touch()
    entry = HostEntry("a1", "192.0.2.1", tmp_path / "known_hosts")

    with Host(entry), (used_folder / "in-use").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        (host_folder,) = set(tmp_path.glob("migqual-ssh-*")) - {
            stale_folder,
            used_folder,
            *other_folders,
        }
        remove_stale_ssh_folders()
        remaining_folders = {used_folder, host_folder, *other_folders}

        assert set(tmp_path.iterdir()) == remaining_folders
        assert (host_folder / "config").is_file()
    assert not host_folder.exists()
