"""The stop command for a pid file ends the daemon of the pid file, and no other process."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.hosts.pid_file import build_stop_command

pytestmark = pytest.mark.selftest


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "server.pid"


@pytest.fixture
def daemon(pid_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a Python process that acts as a daemon, for example as qemu-nbd.

    Like qemu-nbd, the process has the option `--pid-file` with the path of the pid file.
    """
    sleep_script = "import signal; print(flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", sleep_script, f"--pid-file={pid_file}"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_daemon_ends_before_the_command(pid_file: Path, daemon: subprocess.Popen[bytes]) -> None:
    """The stop command ends the daemon of a pid file, waits for its end, and removes the file."""
    pid_file.write_text(f"{daemon.pid}\n")

    with subprocess.Popen(build_stop_command(str(pid_file))) as stop_command:
        assert daemon.wait(10) != 0
        assert stop_command.wait(10) == 0

    assert not pid_file.exists()


def test_process_of_another_boot_is_left_alone(
    pid_file: Path, daemon: subprocess.Popen[bytes]
) -> None:
    """The stop command ends only a process whose command line contains the path of the pid file.

    After a reboot, an old pid file can contain the process id of another process.
    """
    other_file = pid_file.with_name("other.pid")
    other_file.write_text(f"{daemon.pid}\n")

    assert subprocess.run(build_stop_command(str(other_file)), check=False).returncode == 0

    assert daemon.poll() is None


def test_missing_pid_file_is_no_error(pid_file: Path) -> None:
    assert subprocess.run(build_stop_command(str(pid_file)), check=False).returncode == 0
