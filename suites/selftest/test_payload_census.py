"""The program that looks at a guest's memory from its host."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.predict.contents import parsed

pytestmark = pytest.mark.selftest

MIB = 37
# A map of its own; 4 MiB of it are filled, 1 MiB of that is written again and again.
WRITER = f"""\
import mmap, os
room = mmap.mmap(-1, {MIB} << 20)
room[: 4 << 20] = os.urandom(4 << 20)
room[4 << 20 : 6 << 20] = bytes(2 << 20)
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    for at in range(0, 1 << 20, 4096):
        room[at : at + 8] = turn.to_bytes(8, "little")
"""


@pytest.fixture
def writer() -> Iterator[int]:
    """Its process id."""
    argv = [sys.executable, "-c", WRITER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def census(program: Path, pid: int, *more: str) -> "subprocess.CompletedProcess[str]":
    argv = [str(program), "census", "--pid", str(pid), *more]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_what_is_filled_and_what_changes(program: Path, writer: int) -> None:
    """4 of 6 MiB are not zero, and 1 MiB changes in any window."""
    done = census(program, writer, "--kib", str(MIB << 10), "--windows", "100,300")
    found = parsed(done.stdout)

    assert found.filled_mib == 4.0
    assert list(found.windows.values()) == [1.0, 1.0]
    first, second = found.windows
    assert first >= 0.1
    assert second >= 0.3


def test_some_samples_stand_for_all(program: Path, writer: int) -> None:
    """500 of 1536 pages: 1 MiB within four standard deviations."""
    argv = ("--kib", str(MIB << 10), "--windows", "100", "--samples", "500")
    found = parsed(census(program, writer, *argv).stdout)

    (changed,) = found.windows.values()
    assert found.filled_mib == 4.0
    assert changed == pytest.approx(1.0, abs=0.4)


def test_no_map_of_that_size_is_told(program: Path, writer: int) -> None:
    done = census(program, writer, "--kib", str((MIB + 3) << 10))

    assert (done.returncode, done.stdout) == (3, "")
    assert "no map" in done.stderr


@pytest.mark.parametrize("windows", ["0", "200,100", "100,", "1,x", ",", "5000000000"])
def test_bad_windows_are_one_error(program: Path, windows: str) -> None:
    done = census(program, 1, "--kib", "1024", "--windows", windows)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--windows" in done.stderr


def test_windows_of_nothing_are_nothing() -> None:
    assert parsed("0 0 0\n100000 0\n").windows == {0.1: 0.0}
