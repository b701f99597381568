"""The folders with ssh settings that this machine keeps while a host is in use."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from migqual.hosts.host import remove_dead_folders

pytestmark = pytest.mark.selftest


def test_only_folders_of_dead_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed leaves its own; what others made stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = tmp_path / f"migqual-ssh-{process.pid}-x"
    kept = [tmp_path / name for name in (f"migqual-ssh-{os.getpid()}-x", "migqual-ssh-x", "other")]
    for folder in (dead, *kept):
        folder.mkdir()
        (folder / "config").touch()

    remove_dead_folders()

    assert sorted(tmp_path.iterdir()) == sorted(kept)
