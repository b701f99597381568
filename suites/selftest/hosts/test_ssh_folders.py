"""The local machine keeps a folder with SSH settings while a host is in use."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from migqual.hosts.host import remove_stale_ssh_folders

pytestmark = pytest.mark.selftest


def test_only_ssh_folders_of_ended_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of an ended process is removed; all other folders stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    stale_folder = tmp_path / f"migqual-ssh-{process.pid}-x"
    remaining_folders = [
        tmp_path / name for name in (f"migqual-ssh-{os.getpid()}-x", "migqual-ssh-x", "other")
    ]
    for folder in (stale_folder, *remaining_folders):
        folder.mkdir()
        (folder / "config").touch()

    remove_stale_ssh_folders()

    assert sorted(tmp_path.iterdir()) == sorted(remaining_folders)
